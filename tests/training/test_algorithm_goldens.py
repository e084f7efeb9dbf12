"""Every algorithm on one batch small enough for a sheet of paper: from rewards to the gradient.

Two prompts with two responses each; rho is the probability ratio of each token, every logp is -1:

    response    a0       a1          b0            b1
    reward      1        0           3             1
    rho         3/2      1, 1/2      1, 5/4        2

Six tokens, four responses, a limit of four new tokens: the denominators are 6 ("token"), 4 ("sequence") and
4 * 4 = 16 ("fixed"). Per token the clipped loss with bounds 0.8 and 1.2 is -min(rho A, clip(rho) A); its gradient
with respect to logp is -rho A, or 0 where the clip is active. c stands for 1 / sqrt(2).
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.support.sheet import C, check, run


def test_grpo() -> None:
    """A = +-1/2 for a, +-1 for b.

        token    rho A        clip(rho) A    loss        gradient
        a0       3/4          3/5            -3/5         0
        a1       -1/2         -1/2            1/2         1/2
                 -1/4         -2/5            2/5         0
        b0       1            1              -1          -1
                 5/4          6/5            -6/5         0
        b1       -2           -6/5            2           2

    The losses add up to 1/10; over six tokens 1/60. Three of six tokens are clipped; the ratios' mean is 7.25/6.
    """
    got = run({"kind": "grpo"})
    check(got, 0.1, [0, 0.5, 0, -1, 0, 2], over=6)
    assert got[2]["policy/clip_share"] == 0.5
    assert got[2]["policy/ratio"] == pytest.approx(7.25 / 6)
    assert got[2]["policy/max_logprob_gap"] == pytest.approx(math.log(2))


def test_grpo_as_published() -> None:
    """Each group's standard deviation is sqrt(1/2) resp. sqrt(2), so A = +-c in both.

    Losses -6/5 c; c, 4/5 c; -c, -6/5 c; 2 c. Mean over each response: -6/5, 9/10, -11/10, 2 (times c), together
    3/5 c over four responses. Gradients of the tokens of a two-token response are halved.
    """
    got = run({"kind": "grpo", "advantage_scale": "std", "aggregation": "sequence"})
    check(got, 0.6 * C, [0, C / 2, 0, -C / 2, 0, 2 * C], over=4)


def test_dr_grpo() -> None:
    """The tokens of GRPO over 4 responses * 4 tokens."""
    check(run({"kind": "dr_grpo"}), 0.1, [0, 0.5, 0, -1, 0, 2], over=16)


def test_rloo() -> None:
    """With two responses the other's reward is the baseline: A = +-1 and +-2, twice GRPO's."""
    check(run({"kind": "rloo"}), 0.2, [0, 1, 0, -2, 0, 4], over=16)


def test_reinforce_pp() -> None:
    """Over six tokens the mean is 8/6; deviations -1/3, -4/3, 5/3, -1/3, squares 84/9 over 5, so s = sqrt(28/15).

        token    rho A s      clip(rho) A s    loss s      gradient s
        a0       -1/2         -2/5              1/2         1/2
        a1       -4/3         -4/3              4/3         4/3
                 -2/3         -16/15            16/15       0
        b0       5/3          5/3              -5/3        -5/3
                 25/12        2                -2           0
        b1       -2/3         -2/5              2/3         2/3

    Together -1/10 / s.
    """
    got = run({"kind": "reinforce_pp"})
    check(got, -0.1, [1 / 2, 4 / 3, 0, -5 / 3, 0, 2 / 3], over=6 * math.sqrt(28 / 15))


def test_reinforce_pp_over_responses() -> None:
    """Under means over responses so are the moments: mean 5/4; -1/4, -5/4, 7/4, -1/4, s = sqrt(4.75 / 3).

    Losses s: 3/8; 5/4, 1; -7/4, -21/10; 1/2. Means over responses 3/8, 9/8, -77/40, 1/2, together 3/40.
    """
    got = run({"kind": "reinforce_pp", "aggregation": "sequence"})
    grad = [0.375, 0.625, 0, -0.875, 0, 0.5]
    check(got, 0.075, grad, over=4 * math.sqrt(4.75 / 3))


def test_reinforce_pp_takes_the_kl_that_follows_from_a_tokens_reward() -> None:
    """KL of 2; 0, 0; 1, 3; 0 nats at 1/2: tokens earn 1 - 1; 0, 0; 3 - 2, 3 - 3/2; 1, on average 7/12.

    Deviations in twelfths -7; -7, -7; 5, 11; 5, squares 318 over 144 and over 5: s = sqrt(318/720). Losses times s,
    in twelfths: 10.5; 7, 5.6 (clipped); -5, -13.2 (clipped); -6 (clipped), together -1.1.
    """
    got = run({"kind": "reinforce_pp", "kl": {"coef": 0.5}}, kl=(2, 0, 0, 1, 3, 0))
    check(got, -1.1, [10.5, 7, 0, -5, 0, 0], over=12 * 6 * math.sqrt(318 / 720))


def test_reinforce_pp_takes_the_kl_over_responses_where_its_loss_does() -> None:
    """Each response one share: means 0; 0; 5/4; 1, on average 9/16, with squares 0, 0, (1 + 9/4) / 2 and 1.

    The squares' mean less that of the mean, 4/3 times: s = sqrt((21/8 - 4 * 81/256) / 3). Deviations in sixteenths
    -9; -9, -9; 7, 15; 7. Losses: 13.5; (9 + 7.2) / 2; -(7 + 18) / 2; -8.4, together 0.7.
    """
    keys = {"kind": "reinforce_pp", "aggregation": "sequence", "kl": {"coef": 0.5}}
    got = run(keys, kl=(2, 0, 0, 1, 3, 0))
    grad = [13.5, 4.5, 0, -3.5, 0, 0]
    check(got, 0.7, grad, over=16 * 4 * math.sqrt((21 / 8 - 81 / 64) / 3))


def test_reinforce_pp_baseline() -> None:
    """Centred as in GRPO, +-1/2 and +-1, of mean 1/12 over six tokens: A s = 5/12, -7/12, 11/12, -13/12.

    Squares 25, 2 * 49, 2 * 121, 169 over 144, and over 5: s = sqrt(534/720). Losses s, in twelfths: -6 (clipped);
    7, 5.6 (clipped); -11, -13.2 (clipped); 26, together 8.4.
    """
    got = run({"kind": "reinforce_pp_baseline"})
    check(got, 8.4, [0, 7, 0, -11, 0, 26], over=12 * 6 * math.sqrt(534 / 720))


def test_reinforce_pp_baseline_adds_k2_to_the_loss() -> None:
    """The reference is one nat below everywhere: k2 = 1/2 and its gradient 1 a token, times 1/5 over six tokens.

    By default both are weighted by the ratio, 7.25 in sum; `unbiased=false` is the published form.
    """
    plain = run({"kind": "reinforce_pp_baseline"})
    weighted = {"kind": "reinforce_pp_baseline", "kl": {"coef": 0.2}}
    published = {"kind": "reinforce_pp_baseline", "kl": {"coef": 0.2, "unbiased": False}}
    for settings, weights in ((weighted, [1.5, 1, 0.5, 1, 1.25, 2]), (published, [1.0] * 6)):
        got = run(settings, ref=-2.0)
        assert got[0] - plain[0] == pytest.approx(0.1 * sum(weights) / 6)
        added = [g - p for g, p in zip(got[1], plain[1], strict=True)]
        assert added == pytest.approx([0.2 * w / 6 for w in weights])
        assert got[2]["policy/kl_ref"] == pytest.approx(0.5)


def test_remax() -> None:
    """Greedy rewards 0 and 1: A = 1, 0, 2, 0. Losses -6/5; 0, 0; -2, -12/5; 0, together -5.6 over 16."""
    got = run({"kind": "remax"}, greedy=(0.0, 1.0))
    check(got, -5.6, [0, 0, 0, -2, 0, 0], over=16)


def test_opo() -> None:
    """Baselines over tokens 1/3 and 7/3: A = 2/3, -1/3 and 2/3, -4/3.

    Losses -4/5 (clipped); 1/3, 4/15 (clipped); -2/3, -4/5 (clipped); 8/3, together 1.
    """
    check(run({"kind": "opo"}), 1, [0, 1 / 3, 0, -2 / 3, 0, 8 / 3], over=6)


def test_pass_at_k() -> None:
    """One of a is right: A = +-1. Both of b are: 0. Losses -6/5; 1, 4/5."""
    check(run({"kind": "pass_at_k", "k": 1}), 0.6, [0, 1, 0, 0, 0, 0], over=6)


def test_gdpo_of_one_reward() -> None:
    """+-c of mean 0 - a0 and b1 have a token, a1 and b0 two, so (c - 2c + 2c - c) / 6 = 0 - and deviation sqrt(3/5).

    As published GRPO, over that: losses -6/5; 1, 4/5; -1, -6/5; 2 times c, together 2/5 c.
    """
    grad = [0, C, 0, -C, 0, 2 * C]
    check(run({"kind": "gdpo"}), 0.4 * C, grad, over=6 * math.sqrt(0.6))


def test_dapo() -> None:
    """A = +-c; the upper bound is 1.28, so 5/4 keeps its gradient.

    Losses over c: -1.28; 1, 4/5; -1, -5/4; 2, together 0.27 over six tokens.
    """
    got = run({"kind": "dapo", "overlong": None})
    check(got, 0.27 * C, [0, C, 0, -C, -1.25 * C, 2 * C], over=6)


def test_dapo_takes_length_off_the_reward() -> None:
    """Three of four tokens are buffer: one token is free, two cost (4 - 3 - 2) / 3 = -1/3.

    Rewards 1, -1/3 and 8/3, 1; means 1/3 and 11/6; A = +-2/3 and +-5/6 without the division by the deviation.
    Losses -1.28 * 2/3; 2/3, 8/15; -5/6, -25/24; 5/3, together 0.14.
    """
    got = run({"kind": "dapo", "advantage_scale": "none", "overlong": {"share": 0.75}})
    loss = -1.28 * 2 / 3 + 2 / 3 + 8 / 15 - 5 / 6 - 25 / 24 + 5 / 3
    assert loss == pytest.approx(0.138333, abs=1e-6)
    check(got, loss, [0, 2 / 3, 0, -5 / 6, -25 / 24, 5 / 3], over=6)


def test_gspo() -> None:
    """A = +-c; s = 3/2, sqrt(1/2), sqrt(5/4), 2 a response; bounds 0.8 and 1.2 here.

    Losses of the responses over c: -6/5 (clipped), 4/5 (clipped), -sqrt(5/4), 2; their sum over four. In b0 each of
    two tokens moves s by s / 2, so its gradient is -sqrt(5/4) / 2.
    """
    s = math.sqrt(1.25)
    got = run({"kind": "gspo", "clip_low": 0.2, "clip_high": 0.2})
    check(got, (-1.2 + 0.8 - s + 2) * C, [0, 0, 0, -s * C / 2, -s * C / 2, 2 * C], over=4)
    assert got[2]["policy/clip_share"] == 0.5


def test_gspo_with_the_papers_bounds() -> None:
    """Bounds 0.9997 and 1.0004 hold every response but b1, whose A < 0 and s = 2 push it back."""
    got = run({"kind": "gspo"})
    check(got, (-1.0004 + 0.9997 - 1.0004 + 2) * C, [0, 0, 0, 0, 0, 2 * C], over=4)


def test_cispo() -> None:
    """Weights 6/5; 1, 1/2; 1, 6/5; 6/5 under an upper bound of 6/5 and none below; A = +-c, logp = -1.

    Loss -w A logp = w A: 6/5; -1, -1/2; 1, 6/5; -6/5 over c, together 0.7. Gradient -w A, none of it zero.
    """
    got = run({"kind": "cispo", "clip_high": 0.2})
    check(got, 0.7 * C, [-1.2 * C, C, 0.5 * C, -C, -1.2 * C, 1.2 * C], over=6)
    assert got[2]["policy/clip_share"] == 0.5


def test_cispo_with_its_own_bound() -> None:
    """Nothing reaches 5: weights are the ratios. 3/2 - 1 - 1/2 + 1 + 5/4 - 2 = 1/4."""
    got = run({"kind": "cispo"})
    check(got, 0.25 * C, [-1.5 * C, C, 0.5 * C, -C, -1.25 * C, 2 * C], over=6)


@pytest.mark.parametrize(
    ("correction", "weights", "dropped"),
    [
        ({"kind": "tis", "high": 1.2}, [1.2, 1, 0.5, 1, 1.2, 1.2], 0),
        ({"kind": "icepop", "low": 0.6, "high": 1.6}, [1.5, 1, 0, 1, 1.25, 0], 2),
        ({"kind": "sequence_mask", "low": 0.8, "high": 1.2}, [0, 0, 0, 1, 1, 0], 4),
    ],
)
def test_corrections(correction: dict[str, Any], weights: list[float], dropped: int) -> None:
    """In a batch's only step the policy is its own old one, so the ratio of the loss is 1 and rho the mismatch.

    GRPO's A: loss -w A and gradient -w A a token, over all six tokens, those of weight 0 included. The sequence mask
    keeps b0 alone, of mean sqrt(5/4); 3/2, sqrt(1/2) and 2 lie outside.
    """
    advantage = [0.5, -0.5, -0.5, 1, 1, -1]
    terms = [-w * a for w, a in zip(weights, advantage, strict=True)]
    got = run({"kind": "grpo", "correction": correction})
    check(got, sum(terms), terms, over=6)
    assert got[2]["policy/ratio"] == 1
    assert got[2]["policy/correction_weight"] == pytest.approx(sum(weights) / 6)
    assert got[2]["policy/correction_dropped"] == pytest.approx(dropped / 6)
    assert got[2]["policy/max_logprob_gap"] == pytest.approx(math.log(2))


def test_corrections_after_the_first_step() -> None:
    """With two steps a batch `old_logp` comes as a column and splits rho: ratio to the old policy times mismatch.

    Ratios to the old policy 3/2; 1, 1; 1, 1; 1 leave mismatches 1; 1, 1/2; 1, 5/4; 2, capped at 6/5. GRPO's A:
    a0 is clipped to 6/5 * 1/2 = 3/5. Losses -3/5; 1/2, 1/4; -1, -6/5; 6/5, together -0.85.
    """
    got = run(
        {"correction": {"kind": "tis", "high": 1.2}, "minibatches": 2}, old=[1.5, 1, 1, 1, 1, 1]
    )
    check(got, -0.85, [0, 0.5, 0.25, -1, -1.2, 1.2], over=6)
    assert got[2]["policy/ratio"] == pytest.approx(6.5 / 6)
    assert got[2]["policy/clip_share"] == pytest.approx(1 / 6)


def test_ratio_to_the_old_policy_ignores_the_engine() -> None:
    """Old log-probabilities equal the present ones: the gradient is REINFORCE's, -A."""
    for settings, old in (
        ({"ratio": "old"}, None),
        ({"ratio": "old", "minibatches": 2}, [1.0] * 6),
    ):
        check(run(settings, old=old), -0.5, [-0.5, 0.5, 0.5, -1, -1, 1], over=6)


def test_a_mask_may_go_with_the_ratio_to_the_engine() -> None:
    """b0 alone, with its own ratios 1 and 5/4, the latter clipped: losses -1 and -6/5."""
    mask = {"kind": "sequence_mask", "low": 0.8, "high": 1.2}
    got = run({"correction": mask, "ratio": "behaviour"})
    check(got, -2.2, [0, 0, 0, -1, 0, 0], over=6)
