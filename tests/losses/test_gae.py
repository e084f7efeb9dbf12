import pytest
import torch
from golden import reference
from golden.compare import assert_same, integers, light, vector
from hypothesis import given
from hypothesis import strategies as st

from medray.losses.gae import gae, length_adaptive_lam

number = st.floats(-2, 2)
unit = st.floats(0, 1)
responses = st.lists(st.lists(st.tuples(number, number), max_size=5), min_size=1, max_size=4)


def flatten(rows):
    pairs = [pair for response in rows for pair in response]
    rewards, values = [r for r, _ in pairs], [v for _, v in pairs]
    return rewards, values, [len(response) for response in rows]


def test_golden() -> None:
    """gamma = 1, lam = 1/2. Response 0, rewards 0, 0, 1, values .5, .6, .7:

        delta = .1, .1, .3;  A_2 = .3, A_1 = .1 + .15 = .25, A_0 = .1 + .125 = .225

    Response 1 has one token of reward 0 and value .2: A = -.2. Returns are A + V.
    """
    advantages, returns = gae(
        vector([0.0, 0.0, 1.0, 0.0]),
        vector([0.5, 0.6, 0.7, 0.2]),
        integers([3, 1]),
        1.0,
        0.5,
    )
    assert_same(advantages, [0.225, 0.25, 0.3, -0.2])
    assert_same(returns, [0.725, 0.85, 1.0, 0.0])


def test_golden_discount() -> None:
    """gamma = 1/2, lam = 1/2, rewards 1, 2, values 1, 1: delta = .5, 1; A = .5 + 1/4 = .75, 1."""
    advantages, _ = gae(vector([1.0, 2.0]), vector([1.0, 1.0]), integers([2]), 0.5, 0.5)
    assert_same(advantages, [0.75, 1.0])


@light
@given(rows=responses, gamma=unit, lam=unit)
def test_matches_the_reference(rows, gamma, lam) -> None:
    rewards, values, lengths = flatten(rows)
    advantages, returns = gae(vector(rewards), vector(values), integers(lengths), gamma, lam)
    expected = reference.gae(rewards, values, lengths, gamma, lam)
    assert_same(advantages, expected)
    assert_same(returns, [a + v for a, v in zip(expected, values, strict=True)])


@light
@given(rows=responses)
def test_lam_one_is_the_reward_to_go_less_the_value(rows) -> None:
    rewards, values, lengths = flatten(rows)
    _, returns = gae(vector(rewards), vector(values), integers(lengths), 1.0, 1.0)
    expected = [sum(r for r, _ in response[t:]) for response in rows for t in range(len(response))]
    assert_same(returns, expected)


@light
@given(rows=responses, gamma=unit, lam=unit)
def test_responses_do_not_see_each_other(rows, gamma, lam) -> None:
    rewards, values, lengths = flatten(rows)
    together, _ = gae(vector(rewards), vector(values), integers(lengths), gamma, lam)
    alone = [
        gae(
            vector([r for r, _ in row]),
            vector([v for _, v in row]),
            integers([len(row)]),
            gamma,
            lam,
        )
        for row in rows
    ]
    assert torch.equal(together, torch.cat([a for a, _ in alone]))


def test_gives_constants() -> None:
    values = vector([1.0, 2.0], grad=True)
    advantages, returns = gae(vector([0.0, 1.0]), values, integers([2]), 1.0, 0.9)
    assert not advantages.requires_grad
    assert not returns.requires_grad


def test_lengths_must_add_up() -> None:
    with pytest.raises(ValueError, match="add up to 3, but there are 2 tokens"):
        gae(vector([0.0, 1.0]), vector([0.0, 1.0]), integers([3]), 1.0, 1.0)


@light
@given(rows=responses, gamma=unit, lam=unit)
def test_a_lambda_for_each_response(rows, gamma, lam) -> None:
    rewards, values, lengths = flatten(rows)
    lams = [lam / (1 + i) for i in range(len(lengths))]
    got, _ = gae(vector(rewards), vector(values), integers(lengths), gamma, vector(lams))
    expected: list[float] = []
    for response, own in zip(rows, lams, strict=True):
        r, v, sizes = flatten([response])
        expected += reference.gae(r, v, sizes, gamma, own)
    assert_same(got, expected)


def test_golden_length_adaptive_lambda() -> None:
    """With alpha 0.05 lengths 20 and less give 0, 40 gives 1/2, 200 gives 0.9."""
    assert_same(length_adaptive_lam(integers([1, 20, 40, 200]), 0.05), [0.0, 0.0, 0.5, 0.9])
