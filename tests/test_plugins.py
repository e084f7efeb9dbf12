"""A part of one's own is made once per process, whatever asks for it in every row or step."""

from __future__ import annotations

from medray.config.optim import OptimConfig
from medray.config.parts import SCHEDULE, Part
from medray.learners.schedule import learning_rate
from medray.plugins import make_part

HERE = "tests.test_plugins"


class Counting:
    made = 0

    def __init__(self, share: float = 1.0) -> None:
        Counting.made += 1
        self.share = share

    def __call__(self, step: int, num_steps: int) -> float:
        return self.share


def test_a_class_is_made_once_for_all_steps() -> None:
    config = OptimConfig.model_validate(
        {"lr": 2.0, "schedule": {"kind": f"{HERE}:Counting", "options": {"share": 0.25}}}
    )
    before = Counting.made

    assert [learning_rate(config, step, 4) for step in range(4)] == [0.5] * 4
    assert Counting.made == before + 1


def test_other_options_make_another_one() -> None:
    def of(share: float) -> Counting:
        return make_part(
            Part(kind=f"{HERE}:Counting", options={"share": share}), SCHEDULE, "optim.schedule", {}
        )

    assert of(0.5) is of(0.5)
    assert (of(0.5).share, of(0.75).share) == (0.5, 0.75)
