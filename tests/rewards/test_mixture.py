from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from medray.config.base import Section
from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.mixture import build_rewards
from medray.types import GroupScore

from .helpers import group, prompt

ITEM = prompt("B", ("Cholera", "Typhoid fever", "Malaria", "Dengue fever"))
HERE = __name__


class Length:
    """A user's reward without settings class: characters, capped."""

    low = 0.0
    high = 5.0
    parts = ("chars",)

    def __init__(self, cap: float = 5.0) -> None:
        self.cap = cap

    def score(self, prompt, responses) -> GroupScore:
        lengths = tuple(min(float(len(r.text)), self.cap) for r in responses)
        return GroupScore(lengths, {"chars": lengths})


class Scripted:
    """Returns or raises what its `outcome` holds."""

    low = 0.0
    high = 1.0
    parts: tuple[str, ...] = ()
    outcome: object = None

    def score(self, prompt, responses) -> GroupScore:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome  # type: ignore[return-value]


class WithOptions:
    class Options(Section):
        bonus: float = 0.5

    low = 0.0
    high = 1.0
    parts = ()

    def __init__(self, options: Options) -> None:
        self.bonus = options.bonus

    def score(self, prompt, responses) -> GroupScore:
        return GroupScore(tuple(self.bonus for _ in responses))


class NoBounds:
    parts = ()

    def score(self, prompt, responses) -> GroupScore:
        return GroupScore(())


class UpsideDown(Scripted):
    low = 2.0


class PartCalledScore(Scripted):
    parts = ("right", "score")


class Endless(Scripted):
    high = float("inf")


def test_sum_of_weighted_scores_by_hand() -> None:
    mixture = build_rewards(
        [
            RewardConfig(kind="choice", weight=2.0),
            RewardConfig(kind=f"{HERE}:Length", weight=-0.1, options={"cap": 3}),
        ]
    )
    score = mixture.score(group(ITEM, "B", "C, maybe", ""))
    # choice 1.0, 0.4, 0.3; length 1, 3, 0.
    assert score.rewards == pytest.approx((1.9, 0.5, 0.6))
    assert score.parts["choice/score"] == pytest.approx((1.0, 0.4, 0.3))
    assert score.parts["choice/right"] == (1.0, 0.0, 0.0)
    assert score.parts["Length/chars"] == (1.0, 3.0, 0.0)
    assert (mixture.low, mixture.high) == pytest.approx((-0.5, 2.0))


def test_second_of_a_kind_is_numbered() -> None:
    mixture = build_rewards(
        [RewardConfig(kind="choice"), RewardConfig(kind="choice", options={"strict": True})]
    )
    score = mixture.score(group(ITEM, "B.", "B"))
    assert score.parts["choice/score"] == (1.0, 1.0)
    assert score.parts["choice_2/score"] == (0.0, 1.0)
    assert score.rewards == (1.0, 2.0)
    assert [m.name for m in mixture.rewards] == ["choice", "choice_2"]


def test_settings_class_of_a_user_reward() -> None:
    kind = f"{HERE}:WithOptions"
    mixture = build_rewards([RewardConfig(kind=kind, options={"bonus": 0.25})])
    assert mixture.score(group(ITEM, "x")).rewards == (0.25,)
    with pytest.raises(ConfigError, match=r"rewards\.0\.options\.bonnus: did you mean bonus"):
        build_rewards([RewardConfig(kind=kind, options={"bonnus": 1})])


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (ValueError("no net"), r"raised ValueError: no net"),
        (TimeoutError("grader"), r"raised TimeoutError: grader"),
        (GroupScore((0.5,)), r"has 1 values for 2 responses"),
        (GroupScore((0.5, float("nan"))), r"returned nan for response 1"),
        (GroupScore((float("inf"), 0.0)), r"returned inf for response 0"),
        (
            GroupScore((0.5, 1.5)),
            r"returned 1\.5 for response 1, outside its bounds \[0\.0, 1\.0\]",
        ),
        (GroupScore((-0.5, 0.5)), r"returned -0\.5 for response 0"),
        (GroupScore(("0.5", 0.5)), r"not a list of numbers"),  # type: ignore[arg-type]
        (GroupScore((None, 0.5)), r"not a list of numbers"),  # type: ignore[arg-type]
        ([0.5, 0.5], r"returned list"),
        (None, r"returned NoneType"),
        (GroupScore((0.5, 0.5), {"extra": (1.0, 1.0)}), r"reported parts \['extra'\]"),
        (GroupScore({0.5: "a", 0.25: "b"}), r"is a dict: return one number per response"),  # type: ignore[arg-type]
        (GroupScore({0.5, 0.25}), r"is a set"),  # type: ignore[arg-type]
    ],
)
def test_a_failed_grader_raises_and_never_scores(
    outcome: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scripted, "outcome", outcome)
    mixture = build_rewards([RewardConfig(kind=f"{HERE}:Scripted")])
    with pytest.raises(GraderError, match=message) as caught:
        mixture.score(group(ITEM, "a", "b"))
    assert "reward Scripted on prompt item-1" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_rounding_at_a_bound_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "outcome", GroupScore((1.0 + 1e-9,)))
    mixture = build_rewards([RewardConfig(kind=f"{HERE}:Scripted")])
    assert mixture.score(group(ITEM, "a")).rewards == pytest.approx((1.0,))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("chioce", r"rewards\.0\.kind=chioce is unknown: did you mean choice\?"),
        ("zzz", r"use one of .*choice, .*text.*, or your own as package\.module:name"),
        ("no_such_package:Thing", r"importing no_such_package failed"),
        (f"{HERE}:Missing", r"has no Missing"),
        (f"{HERE}:HERE", r"is not a class"),
        (":Thing", r"not of the form package\.module:name"),
        (f"{HERE}:NoBounds", r"lacks low, high"),
        (f"{HERE}:UpsideDown", r"low 2\.0 is above high 1\.0"),
        (f"{HERE}:Endless", r"bound high is inf"),
        (f"{HERE}:PartCalledScore", r"a part named score would replace"),
    ],
)
def test_a_reward_that_cannot_be_made_names_the_key(kind: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_rewards([RewardConfig(kind=kind)])


def test_unknown_setting_of_a_plain_class() -> None:
    with pytest.raises(
        ConfigError,
        match=r"rewards\.0\.options\.cpa is not an option of .*Length: did you mean cap",
    ):
        build_rewards([RewardConfig(kind=f"{HERE}:Length", options={"cpa": 3})])


def test_no_reward_is_refused() -> None:
    with pytest.raises(ConfigError, match="rewards is empty"):
        build_rewards([])


def test_importing_rewards_loads_no_heavy_library() -> None:
    code = (
        "import sys, medray.data.loading.load, medray.data.rendering.prompts, medray.data.batches.stream;"
        "import medray.rewards.mixture, medray.rewards.choice, medray.rewards.text;"
        "print([m for m in ('torch', 'ray', 'vllm', 'transformers') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
