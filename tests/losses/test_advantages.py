import math

import numpy as np
import pytest
from golden import reference
from golden.compare import light
from hypothesis import assume, given
from hypothesis import strategies as st

from medray.errors import DataError, NumericsError
from medray.losses.advantages import (
    gdpo_advantages,
    group_advantages,
    opo_advantages,
    pass_at_k_advantages,
    reinforce_pp_advantages,
    reinforce_pp_baseline_advantages,
    remax_advantages,
    rloo_advantages,
    soft_overlong_penalty,
    tied,
)

reward = st.floats(-5, 5, allow_subnormal=False)
groups = st.lists(st.lists(reward, min_size=2, max_size=6), min_size=1, max_size=4)
scales = st.sampled_from(["none", "std"])


def assert_close(actual, expected, tolerance: float = 1e-6) -> None:
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def test_golden_mean_only() -> None:
    """Means 1/2 and 0.35: 1, 0, 0, 1 become +-1/2; 0.5, 0.2 become +-0.15."""
    got = group_advantages([[1.0, 0.0, 0.0, 1.0], [0.5, 0.2]], scale="none")
    assert_close(got, [[0.5, -0.5, -0.5, 0.5], [0.15, -0.15]])


def test_golden_std() -> None:
    """1, 0, 0, 1: squares sum to 4/4 = 1, over G - 1 = 3; std = 1/sqrt(3), so +-1/2 * sqrt(3).

    The 1e-6 in the denominator shows: without it the value would be 0.8660254, with it 0.8660239.
    """
    (got,) = group_advantages([[1.0, 0.0, 0.0, 1.0]], scale="std")
    expected = 0.5 / (1 / math.sqrt(3) + 1e-6)
    np.testing.assert_allclose(got, [expected, -expected, -expected, expected], rtol=1e-7)
    assert got[0] == np.float32(0.8660239)


def test_golden_rloo() -> None:
    """1, 0, 0: the first is 1 above the others' mean 0, the rest 1/2 below their others' mean
    1/2."""
    assert_close(rloo_advantages([[1.0, 0.0, 0.0]]), [[1.0, -0.5, -0.5]])


def test_golden_reinforce_pp() -> None:
    """0, 1, 2, 3: mean 3/2, squares sum to 5, std = sqrt(5/3) = 1.2909944."""
    got = reinforce_pp_advantages([[0.0, 1.0], [2.0], [3.0]], [[1, 1], [1], [1]])
    assert_close(got, [[-1.1618950, -0.3872983], [0.3872983], [1.1618950]], 2e-6)


def test_golden_reinforce_pp_over_tokens() -> None:
    """0 over 3 tokens, 4 over one: mean 1, squares 3 + 9 over 3 tokens, std 2. The 4 tokens sum to zero."""
    assert_close(reinforce_pp_advantages([[0.0], [4.0]], [[3], [1]]), [[-0.5], [1.5]])


def test_golden_reinforce_pp_baseline() -> None:
    """Groups 0, 1 and 2, 3 become +-1/2; squares sum to 1, std = sqrt(1/3); +-1/2 * sqrt(3)."""
    got = reinforce_pp_baseline_advantages([[0.0, 1.0], [2.0, 3.0]], [[1, 1]] * 2)
    assert_close(got, [[-0.8660254, 0.8660254]] * 2, 3e-6)


def test_golden_reinforce_pp_baseline_over_tokens() -> None:
    """0 (2 tokens) and 1 (1 token) become -+1/2, mean -1/6; squares 2/9 + 4/9 over 2, std sqrt(1/3)."""
    got = reinforce_pp_baseline_advantages([[0.0, 1.0]], [[2, 1]])
    assert_close(got, [[-math.sqrt(1 / 3), 2 * math.sqrt(1 / 3)]], 3e-6)


def test_golden_opo() -> None:
    """1 over one token and 0 over three: baseline 1/4."""
    assert_close(opo_advantages([[1.0, 0.0]], [[1, 3]]), [[0.75, -0.25]])


def test_golden_pass_at_k() -> None:
    """One right of four, k = 2: half of the six pairs fail, deviation 1/2.

    The right one is 1/2 / (1/2) = 1; of a wrong one's three pairs two fail, (1/2 - 2/3) / (1/2) = -1/3. In the second
    group three are right, so that no pair fails: nothing to learn.
    """
    got = pass_at_k_advantages([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]], 2, 0.5)
    assert_close(got, [[1.0, -1 / 3, -1 / 3, -1 / 3], [0.0] * 4])


def test_golden_gdpo() -> None:
    """Rewards 1, 0 of weight 1 and 0, 4 of weight 2, each +-c with c = sqrt(1/2): c - 2 c and -c + 2 c, deviation 1.

    Over tokens, 3 and 1, the mean is -c / 2; squares 3 (c/2)^2 + (3 c/2)^2 = 3/2 over 3: A = (-c/2, 3c/2) sqrt(2).
    """
    c = math.sqrt(0.5)
    terms = [(1.0, [[1.0, 0.0]]), (2.0, [[0.0, 4.0]])]
    assert_close(gdpo_advantages(terms, [[1, 1]]), [[-c, c]], 3e-6)
    assert_close(gdpo_advantages(terms, [[3, 1]]), [[-0.5, 1.5]], 5e-6)


def test_gdpo_tells_rewards_apart_that_have_one_sum() -> None:
    """Both groups have the sums 0 and 1; in the second two rewards make the 1, each of them all of its own spread."""
    first = [[0.0, 1.0], [0.0, 0.5]]
    second = [[0.0, 0.0], [0.0, 0.5]]
    one, two = gdpo_advantages([(1.0, first), (1.0, second)], [[1, 1], [1, 1]])
    assert two[1] == pytest.approx(2 * one[1], rel=1e-4)


@light
@given(
    rewards=st.lists(st.lists(reward, min_size=4, max_size=6), min_size=1, max_size=3),
    k=st.integers(1, 4),
)
def test_pass_at_k_matches_the_enumeration(rewards, k) -> None:
    assert_close(pass_at_k_advantages(rewards, k, 0.0), reference.pass_at_k(rewards, k, 0.0), 1e-5)


@light
@given(rewards=groups, draw=st.randoms(use_true_random=False))
def test_opo_and_gdpo_match_the_reference(rewards, draw) -> None:
    counts = [[draw.randint(1, 9) for _ in group] for group in rewards]
    assert_close(opo_advantages(rewards, counts), reference.opo(rewards, counts), 1e-5)
    assume(all(max(g) - min(g) > 1e-2 for g in rewards))
    terms = [(1.0, rewards), (-0.5, [[r * r for r in group] for group in rewards])]
    assume(all(max(g) - min(g) > 1e-2 for g in terms[1][1]))
    assert_close(gdpo_advantages(terms, counts), reference.gdpo(terms, counts), 1e-4)


def test_golden_remax() -> None:
    """Greedy rewards 1/2 and 1 are taken from 1, 0 and from 0."""
    assert_close(remax_advantages([[1.0, 0.0], [0.0]], [0.5, 1.0]), [[0.5, -0.5], [-1.0]])


@light
@given(rewards=groups, scale=scales)
def test_group_matches_the_reference(rewards, scale) -> None:
    assert_close(group_advantages(rewards, scale=scale), reference.group_advantages(rewards, scale))


@light
@given(rewards=groups, draw=st.randoms(use_true_random=False))
def test_other_estimators_match_the_reference(rewards, draw) -> None:
    assert_close(rloo_advantages(rewards), reference.rloo(rewards))
    counts = [[draw.randint(1, 9) for _ in group] for group in rewards]
    spread = [r for group in rewards for r in group]
    assume(max(spread) - min(spread) > 1e-2)
    assert_close(
        reinforce_pp_advantages(rewards, counts),
        reference.reinforce_pp(rewards, counts, baseline=False),
        1e-5,
    )
    assume(any(max(g) - min(g) > 1e-2 for g in rewards))
    assert_close(
        reinforce_pp_baseline_advantages(rewards, counts),
        reference.reinforce_pp(rewards, counts, baseline=True),
        1e-5,
    )


@light
@given(rewards=groups, scale=scales)
def test_every_group_sums_to_zero(rewards, scale) -> None:
    for advantages in group_advantages(rewards, scale=scale):
        assert abs(advantages.astype(np.float64).sum()) < 1e-5


@light
@given(rewards=groups, scale=scales, shift=st.floats(-3, 3))
def test_adding_a_constant_to_a_group_changes_nothing(rewards, scale, shift) -> None:
    assume(all(max(g) - min(g) == 0 or max(g) - min(g) > 1e-2 for g in rewards))
    moved = [[r + shift for r in group] for group in rewards]
    assert_close(group_advantages(moved, scale=scale), group_advantages(rewards, scale=scale), 1e-5)


@light
@given(rewards=groups, scale=scales, order=st.randoms(use_true_random=False))
def test_permuting_responses_permutes_advantages(rewards, scale, order) -> None:
    orders = [order.sample(range(len(g)), len(g)) for g in rewards]
    shuffled = [[g[i] for i in o] for g, o in zip(rewards, orders, strict=True)]
    plain = group_advantages(rewards, scale=scale)
    expected = [a[o] for a, o in zip(plain, orders, strict=True)]
    assert_close(group_advantages(shuffled, scale=scale), expected)


@light
@given(rewards=groups, scale=scales)
def test_groups_do_not_see_each_other(rewards, scale) -> None:
    together = group_advantages(rewards, scale=scale)
    alone = [group_advantages([group], scale=scale)[0] for group in rewards]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


@light
@given(rewards=groups)
def test_rloo_is_the_centred_reward_times_g_over_g_minus_one(rewards) -> None:
    centred = group_advantages(rewards)
    assert_close(rloo_advantages(rewards), [a * len(a) / (len(a) - 1) for a in centred], 1e-5)


def test_tied_group_has_zero_advantages_even_over_its_std() -> None:
    assert_close(group_advantages([[0.3, 0.3, 0.3]], scale="std"), [[0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([0.5, 0.5, 0.5], True),
        ([0.1 + 0.2, 0.3], True),
        ([0.5, 0.5 + 1e-6], False),
        ([0.0, 1.0], False),
        ([], True),
    ],
)
def test_tied(rewards, expected) -> None:
    assert tied(rewards) is expected


def _reinforce_pp(rewards):
    return reinforce_pp_advantages(rewards, [[1] * len(group) for group in rewards])


def _reinforce_pp_baseline(rewards):
    return reinforce_pp_baseline_advantages(rewards, [[1] * len(group) for group in rewards])


@pytest.mark.parametrize("estimate", [group_advantages, rloo_advantages, _reinforce_pp_baseline])
def test_group_of_one_is_refused_by_number(estimate) -> None:
    with pytest.raises(DataError, match=r"group 1 has 1 response") as caught:
        estimate([[1.0, 2.0], [3.0]])
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_batch_of_one_cannot_be_whitened() -> None:
    with pytest.raises(DataError, match="batch of one response"):
        _reinforce_pp([[1.0]])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("estimate", [group_advantages, rloo_advantages, _reinforce_pp])
def test_non_finite_reward_is_refused_by_place(estimate, bad) -> None:
    with pytest.raises(NumericsError, match=r"reward 1 of group 0 is -?(nan|inf)"):
        estimate([[0.0, bad], [1.0, 2.0]])


def test_greedy_rewards_must_match_the_groups() -> None:
    with pytest.raises(DataError, match="2 groups but 1 greedy"):
        remax_advantages([[1.0], [0.0]], [0.5])


def test_no_groups_give_no_advantages() -> None:
    assert group_advantages([]) == []
    assert _reinforce_pp([]) == []


def test_golden_overlong() -> None:
    """Limit 10, buffer 4: nothing up to 6 tokens, then a quarter more a token, all of it at 10 and beyond."""
    got = soft_overlong_penalty([1, 6, 7, 8, 9, 10, 12], max_new_tokens=10, buffer_tokens=4)
    assert_close([got], [[0.0, 0.0, -0.25, -0.5, -0.75, -1.0, -1.0]])


@light
@given(st.integers(1, 40), st.data())
def test_overlong_falls_with_length_from_zero_to_minus_one(limit: int, data) -> None:
    buffer = data.draw(st.integers(1, limit))
    got = soft_overlong_penalty(range(limit + 1), limit, buffer)
    assert (np.diff(got) <= 0).all()
    assert not got[: limit - buffer + 1].any()
    assert got[-1] == -1


@pytest.mark.parametrize("buffer", [0, 11])
def test_overlong_buffer_outside_the_limit_is_refused(buffer: int) -> None:
    with pytest.raises(ValueError, match=r"must lie in 1\.\.10"):
        soft_overlong_penalty([3], 10, buffer)
