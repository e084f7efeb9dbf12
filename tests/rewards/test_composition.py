"""Weights, gates and vetoes over the parts of several rewards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.grpo import GrpoJob
from medray.config.loader import validated
from medray.config.reward import BoundsConfig, RewardConfig, VetoConfig
from medray.errors import ConfigError
from medray.rewards.composition import compose, terms_of
from medray.rewards.mixture import build_rewards

from .helpers import group, prompt

FORMAT: dict[str, Any] = {"kind": "format", "options": {"form": "think_answer"}}
SHORT: dict[str, Any] = {"kind": "length", "options": {"unit": "words", "max": 3}}
GOOD, WRONG, BARE = "<think>x</think><answer>5</answer>", "<think>x</think><answer>6</answer>", "5"


def rewards_of(configs: list[dict[str, Any]], *texts: str) -> tuple[tuple[float, ...], Any]:
    mixture = build_rewards([RewardConfig.model_validate(config) for config in configs])
    scored = mixture.score(group(prompt("5"), *texts))
    assert all(mixture.low <= reward <= mixture.high for reward in scored.rewards)
    return scored.rewards, scored.parts


def test_a_closed_gate_takes_what_the_other_terms_add() -> None:
    gated = {**FORMAT, "weight": 0.1, "gate": {"min": 1}}
    rewards, parts = rewards_of([gated, {"kind": "math"}], GOOD, WRONG, BARE)
    assert rewards == pytest.approx((1.1, 0.1, 0.0))
    assert parts["format/passed"] == (1.0, 1.0, 0.0)
    assert parts["math/score"] == (1.0, 0.0, 1.0), "the score itself is reported as it was"


def test_penalties_stay_when_a_gate_is_closed() -> None:
    """Otherwise it would pay to close it."""
    gated = {**FORMAT, "weight": 0, "gate": {"min": 1}}
    penalty = {"kind": "numeric", "options": {"right": 0, "ten_fold": -1}}
    rewards, _ = rewards_of([gated, penalty, {"kind": "math"}], "50", BARE)
    assert rewards == (-1.0, 0.0)


def test_a_veto_caps_the_total() -> None:
    veto = {"kind": "numeric", "options": {}, "veto": {"part": "ten_fold", "max": 0, "reward": -2}}
    rewards, parts = rewards_of([veto, {**SHORT, "weight": 0.5}], "5", "50", "7")
    assert rewards == (1.5, -2.0, 0.5)
    assert parts["numeric/passed"] == (1.0, 0.0, 1.0)


def test_a_veto_does_not_raise_a_lower_reward() -> None:
    veto = {**SHORT, "weight": 0, "veto": {"part": "length", "max": 3, "reward": 1}}
    rewards, _ = rewards_of([veto, {"kind": "math", "weight": -2}], "5", "well well well well")
    assert rewards == (-2.0, 0.0)


def test_of_two_vetoes_the_lower_counts_and_a_term_may_have_both_rules() -> None:
    both = {
        **SHORT,
        "gate": {"part": "length", "max": 2},
        "veto": {"part": "length", "max": 3, "reward": -1},
    }
    other = {**FORMAT, "veto": {"min": 1, "reward": -3}}
    rewards, parts = rewards_of([both, other], "a b", "a b c", "a b c d")
    assert rewards == (-3.0, -3.0, -3.0)
    assert parts["length/passed"] == (1.0, 0.0, 0.0)


def test_terms_of_several_pools_are_composed_from_their_parts() -> None:
    """As `RewardPools` does: a gate of a grader acts on a reward model's term."""
    format_ = RewardConfig(kind="format", weight=0, gate=BoundsConfig(min=1))
    terms = (*terms_of([RewardConfig(kind="model", weight=2)]), *terms_of([format_]))
    parts = {"model/score": (3.0, 3.0, -3.0), "format/score": (1.0, 0.0, 0.0)}
    assert compose(terms, parts, 3) == (6.0, 0.0, -6.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "math", "gate": {"part": "no", "min": 1}}, r"rewards\.0\.gate\.part=no is not .*score, right"),
        ({"kind": "math", "veto": {"part": "wrong", "min": 1}}, r"rewards\.0\.veto\.part=wrong"),
    ],
)  # fmt: skip
def test_an_unknown_part_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_rewards([RewardConfig.model_validate(settings)])


def test_an_algorithm_that_reads_each_reward_by_itself_is_refused() -> None:
    rewards = [{"kind": "choice", "gate": {"min": 1}}]
    assert validated(GrpoJob, {"rewards": rewards}).rewards[0].gate == BoundsConfig(min=1)
    with pytest.raises(
        ConfigError, match=r"rewards\.0 has a gate or veto, but algorithm\.kind=gdpo"
    ):
        validated(GrpoJob, {"rewards": rewards, "algorithm": {"kind": "gdpo"}})


@pytest.mark.parametrize("bounds", [{}, {"min": 1, "max": 0}])
def test_bounds_that_say_nothing_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"set min|is above max"):
        BoundsConfig.model_validate(bounds)


SCORES = st.floats(-5, 5)


@given(st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=1, max_size=5), SCORES, SCORES)
def test_gates_and_vetoes_never_raise_a_reward(
    rows: list[tuple[float, float, float]], low: float, capped: float
) -> None:
    plain = [RewardConfig(kind=kind, weight=w) for kind, w in (("a", 1), ("b", -2), ("c", 0.5))]
    ruled = [
        plain[0].model_copy(update={"gate": BoundsConfig(min=low)}),
        plain[1].model_copy(update={"veto": VetoConfig(max=low, reward=capped)}),
        plain[2],
    ]
    parts = {
        f"{name}/score": tuple(col)
        for name, col in zip("abc", zip(*rows, strict=True), strict=True)
    }
    free = compose(terms_of(plain), parts, len(rows))
    bound = compose(terms_of(ruled), parts, len(rows))
    assert all(b <= f + 1e-12 for b, f in zip(bound, free, strict=True))
    assert free == tuple(0.0 + a - 2 * b + 0.5 * c for a, b, c in rows)
