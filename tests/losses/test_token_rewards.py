import pytest
import torch
from golden import reference
from golden.compare import assert_same, integers, light, vector
from hypothesis import given
from hypothesis import strategies as st

from medray.losses.gae import gae
from medray.losses.token_rewards import final_scores, token_rewards

logp = st.floats(-4, -0.1)
token = st.tuples(logp, logp)
responses = st.lists(st.lists(token, min_size=1, max_size=5), min_size=1, max_size=4)
estimators = st.sampled_from(["k1", "k2", "k3"])


def rewards_of(rows, scores, coef, estimator):
    flat = [pair for row in rows for pair in row]
    return token_rewards(
        vector([p for p, _ in flat]),
        vector([q for _, q in flat]),
        vector(scores),
        integers([len(row) for row in rows]),
        kl_coef=coef,
        estimator=estimator,
    )


def test_golden() -> None:
    """k1 at 1/2. Response 0: log ratios 1, -2, so -1/2 and 1, and its score 3 on the second token: -1/2, 4.

    Response 1: one token, log ratio 0, score -1: -1.
    """
    got = rewards_of([[(-1.0, -2.0), (-3.0, -1.0)], [(-1.0, -1.0)]], [3.0, -1.0], 0.5, "k1")
    assert_same(got, [-0.5, 4.0, -1.0])


def test_golden_without_a_reference() -> None:
    got = token_rewards(
        vector([-1.0, -2.0]), None, vector([2.0]), integers([2]), kl_coef=0.5, estimator="k1"
    )
    assert_same(got, [0.0, 2.0])


def test_golden_through_to_the_advantage() -> None:
    """Rewards -1/2, 4 with values 1, 2, gamma 1, lambda 1/2.

    delta_1 = 4 - 2 = 2; delta_0 = -1/2 + 2 - 1 = 1/2; A_1 = 2, A_0 = 1/2 + 1 = 3/2; returns 5/2, 4.
    """
    rewards = rewards_of([[(-1.0, -2.0), (-3.0, -1.0)]], [3.0], 0.5, "k1")
    advantages, returns = gae(rewards, vector([1.0, 2.0]), integers([2]), 1.0, 0.5)
    assert_same(advantages, [1.5, 2.0])
    assert_same(returns, [2.5, 4.0])


@light
@given(rows=responses, coef=st.floats(0, 2), estimator=estimators, data=st.data())
def test_matches_the_reference(rows, coef, estimator, data) -> None:
    scores = [data.draw(st.floats(-3, 3)) for _ in rows]
    expected = []
    for row, score in zip(rows, scores, strict=True):
        own = [-coef * reference.kl_estimator(p, q, estimator) for p, q in row]
        own[-1] += score
        expected += own
    assert_same(rewards_of(rows, scores, coef, estimator), expected)


@light
@given(rows=responses, coef=st.floats(0, 2))
def test_the_sum_over_a_response_is_its_score_less_the_penalty(rows, coef) -> None:
    """InstructGPT's objective: score - beta * log(policy / reference) of the whole response."""
    got = rewards_of(rows, [1.0] * len(rows), coef, "k1").split([len(row) for row in rows])
    assert_same(
        torch.stack([part.sum() for part in got]),
        [1.0 - coef * sum(p - q for p, q in row) for row in rows],
    )


@light
@given(rows=responses, estimator=st.sampled_from(["k2", "k3"]))
def test_a_penalty_that_is_never_negative_never_adds_reward(rows, estimator) -> None:
    assert bool((rewards_of(rows, [0.0] * len(rows), 1.0, estimator) <= 0).all())


def test_missing_end_costs_its_penalty() -> None:
    got = final_scores(vector([1.0, 2.0]), torch.tensor([True, False]), 0.5)
    assert_same(got, [1.0, 1.5])


@pytest.mark.parametrize("lengths", [[1], [2, 0], [3]])
def test_lengths_must_add_up_and_be_positive(lengths) -> None:
    with pytest.raises(ValueError, match="must be positive and add up to 2 tokens"):
        token_rewards(
            vector([-1.0, -1.0]),
            None,
            vector([0.0] * len(lengths)),
            integers(lengths),
            kl_coef=0.0,
            estimator="k1",
        )
