"""Advantages of sampled responses from their rewards; numpy, one function an estimator.

Axis letters: P prompts, G responses of one prompt (may differ between prompts). Statistics are
    taken in float64 over everything that is passed in, so a whole batch must be passed at once.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from medray.errors import DataError, NumericsError

Floats = npt.NDArray[np.float32]
Counts = Sequence[Sequence[int]]
STD_EPS = 1e-6
TIE_TOLERANCE = 1e-9


def tied(rewards: Sequence[float]) -> bool:
    """True when all rewards of a group are equal within 1e-9, so none is better than another."""
    return len(rewards) == 0 or max(rewards) - min(rewards) <= TIE_TOLERANCE


def group_advantages(
    rewards: Sequence[Sequence[float]], *, scale: Literal["none", "std"] = "none"
) -> list[Floats]:
    """Rewards less the mean of their group, optionally over the group's standard deviation.

    A = r - mean(r), or (r - mean(r)) / (std(r) + 1e-6) with the sample standard deviation (divisor
    G - 1).

    Args:
        rewards: [P][G], ragged.
        scale: "none" leaves easy and hard prompts their weight; "std" gives every group the same
            spread.

    Returns:
        One float32 array [G] a prompt; each sums to zero.

    Raises:
        DataError: a group has fewer than two responses.
        NumericsError: a reward is not finite.

    Source: GRPO, arXiv:2402.03300 section 4.1.2 ("std"); Dr. GRPO, arXiv:2503.20783 ("none").
    """
    out: list[Floats] = []
    for group in _checked(rewards, smallest=2):
        centred = group - group.mean()
        if scale == "std":
            centred /= group.std(ddof=1) + STD_EPS
        out.append(centred.astype(np.float32))
    return out


def rloo_advantages(rewards: Sequence[Sequence[float]]) -> list[Floats]:
    """Each reward less the mean of the other rewards of its group.

    A_i = r_i - sum_{j != i} r_j / (G - 1). Arguments, errors and result as in `group_advantages`.

    Source: RLOO, arXiv:2402.14740.
    """
    out: list[Floats] = []
    for group in _checked(rewards, smallest=2):
        others = (group.sum() - group) / (len(group) - 1)
        out.append((group - others).astype(np.float32))
    return out


def reinforce_pp_advantages(rewards: Sequence[Sequence[float]], counts: Counts) -> list[Floats]:
    """Rewards whitened over the whole batch; a group of one is welcome.

    A = (r - mean) / (std + 1e-6), mean and sample standard deviation over the whole batch.

    Args:
        rewards: [P][G], ragged.
        counts: [P][G] how often each reward occurs in the loss: the tokens of its response where the
            loss averages over tokens, 1 where it averages over responses, 0 where it is not trained on.
            The loss then sees advantages of mean 0 and deviation 1.

    Raises:
        DataError: a group is empty, or the batch has fewer than two tokens or responses.
        NumericsError: a reward is not finite.

    Source: REINFORCE++, arXiv:2501.03262; over tokens as in its authors' code.
    """
    return _whitened(_checked(rewards, smallest=1), counts)


def reinforce_pp_kl_advantages(
    rewards: Sequence[Sequence[float]],
    counts: Counts,
    kl_means: Sequence[Sequence[float]],
    kl_variances: Sequence[Sequence[float]],
    coef: float,
) -> tuple[list[Floats], float]:
    """REINFORCE++ with the KL to the reference in the reward: a token answers for the penalties from it on.

    A_t = (r - coef * sum_{s >= t} kl_s - mean) / (std + 1e-6), mean and deviation over all tokens.

    Args:
        rewards, counts: as in `reinforce_pp_advantages`.
        kl_means: [P][G] mean over a response's tokens of the KL that follows, its own included (nats).
        kl_variances: [P][G] its variance over the same.
        coef: reward units per nat.

    Returns:
        The mean over each response's tokens of A, [P][G], and by how much A falls per nat of KL that follows.

    Source: REINFORCE++, arXiv:2501.03262; verl's `reinforce_plus_plus` with a discount of 1.
    """
    groups = _checked(rewards, smallest=1)
    means = [r - coef * np.asarray(kl) for r, kl in zip(groups, kl_means, strict=True)]
    within = [coef**2 * np.asarray(v, dtype=np.float64) for v in kl_variances]
    mean, std = _moments(means, counts, within)
    return [((own - mean) / std).astype(np.float32) for own in means], coef / std


def reinforce_pp_baseline_advantages(
    rewards: Sequence[Sequence[float]], counts: Counts
) -> list[Floats]:
    """Rewards less the mean of their group, whitened over the whole batch.

    Arguments and errors as in `reinforce_pp_advantages`, but that a group has two responses or more.

    Source: REINFORCE++-Baseline, arXiv:2501.03262; over tokens as in its authors' code.
    """
    return _whitened([group - group.mean() for group in _checked(rewards, smallest=2)], counts)


def opo_advantages(rewards: Sequence[Sequence[float]], counts: Counts) -> list[Floats]:
    """Rewards less the mean of their group, in which a response weighs as much as it has tokens.

    A = r - sum(n r) / sum(n): the baseline of least variance where a response's gradient grows with its
    length n. Arguments and errors as in `reinforce_pp_advantages`, but that a group has two responses or
    more.

    Source: OPO, arXiv:2505.23585.
    """
    groups = _checked(rewards, smallest=2)
    weights = [np.asarray(sizes, dtype=np.float64) for sizes in counts]
    pairs = zip(groups, weights, strict=True)
    return [(g - (n * g).sum() / max(n.sum(), 1.0)).astype(np.float32) for g, n in pairs]


def pass_at_k_advantages(
    rewards: Sequence[Sequence[float]], k: int, threshold: float
) -> list[Floats]:
    """Advantages of responses when k of them are worth what the best one is: of a group's subsets of size k, averaged.

    With N responses of which W are wrong, a subset of k has a right one with probability p = 1 - C(W, k) /
    C(N, k), and s = sqrt(p (1 - p)) is its deviation. A right response gets (1 - p) / s, a wrong one (1 - p -
    C(W - 1, k - 1) / C(N - 1, k - 1)) / s. They add up to zero; all are zero where every subset is alike.

    Args:
        rewards: [P][G], ragged.
        k: size of the subsets.
        threshold: a response is right when its reward is above this.

    Raises:
        DataError: a group has fewer than k responses.
        NumericsError: a reward is not finite.

    Source: "Pass@k training", arXiv:2508.10751 eq. 11, 12, 14 and 15.
    """
    out: list[Floats] = []
    for group in _checked(rewards, smallest=max(2, k)):
        size, wrong = len(group), int((group <= threshold).sum())
        fails = math.comb(wrong, k) / math.comb(size, k)
        spread = math.sqrt(fails * (1 - fails))
        if spread == 0:
            out.append(np.zeros(size, dtype=np.float32))
            continue
        others_fail = math.comb(wrong - 1, k - 1) / math.comb(size - 1, k - 1)
        values = np.where(group > threshold, fails, fails - others_fail)
        out.append((values / spread).astype(np.float32))
    return out


def gdpo_advantages(
    rewards: Sequence[tuple[float, Sequence[Sequence[float]]]], counts: Counts
) -> list[Floats]:
    """Every reward normalised within its groups, then summed by weight and whitened over the batch.

    A sum that is normalised as a whole gives (1, 0) and (0, 1) of two rewards the same advantage, and one of
    large spread hides the others.

    Args:
        rewards: weight and [P][G] values of each reward.
        counts: as in `reinforce_pp_advantages`.

    Raises:
        DataError: there is no reward, or a group has fewer than two responses.
        NumericsError: a reward is not finite.

    Source: GDPO, arXiv:2601.05242; the last step over tokens, as in verl.
    """
    if not rewards:
        raise DataError("GDPO normalises each reward by itself, and there is none")
    totals = [np.zeros(len(group)) for group in rewards[0][1]]
    for weight, values in rewards:
        for total, group in zip(totals, _checked(values, smallest=2), strict=True):
            total += weight * (group - group.mean()) / (group.std(ddof=1) + STD_EPS)
    return _whitened(totals, counts)


def remax_advantages(
    rewards: Sequence[Sequence[float]], greedy_rewards: Sequence[float]
) -> list[Floats]:
    """Rewards less the reward of the prompt's greedy response.

    Args:
        rewards: [P][G], ragged; a group of one is welcome.
        greedy_rewards: [P], reward of the response decoded greedily.

    Raises:
        DataError: a group is empty, or the two lists differ in length.
        NumericsError: a reward is not finite.

    Source: ReMax, arXiv:2310.10505.
    """
    if len(rewards) != len(greedy_rewards):
        raise DataError(
            f"{len(rewards)} groups but {len(greedy_rewards)} greedy rewards: pass one per group"
        )
    groups = _checked(rewards, smallest=1)
    baselines = _checked([[r] for r in greedy_rewards], smallest=1)
    return [(g - b).astype(np.float32) for g, b in zip(groups, baselines, strict=True)]


def soft_overlong_penalty(
    lengths: Sequence[int], max_new_tokens: int, buffer_tokens: int
) -> Floats:
    """What to add to a response's reward for coming near the limit of length, in [-1, 0].

        0                                                   length <= limit - buffer
        (limit - buffer - length) / buffer                  up to the limit
        -1                                                  beyond it

    Args:
        lengths: tokens of each response, the stop token included.
        max_new_tokens: the limit.
        buffer_tokens: tokens before the limit over which the penalty grows.

    Raises:
        ValueError: buffer_tokens is not between 1 and the limit.

    Source: DAPO, arXiv:2503.14476 eq. 13.
    """
    if not 1 <= buffer_tokens <= max_new_tokens:
        raise ValueError(f"buffer_tokens={buffer_tokens} must lie in 1..{max_new_tokens}")
    over = np.asarray(lengths, dtype=np.float64) - (max_new_tokens - buffer_tokens)
    return (-np.clip(over / buffer_tokens, 0.0, 1.0)).astype(np.float32)


def _checked(rewards: Sequence[Sequence[float]], *, smallest: int) -> list[npt.NDArray[np.float64]]:
    groups = [np.asarray(group, dtype=np.float64) for group in rewards]
    for index, group in enumerate(groups):
        if len(group) < smallest:
            raise DataError(
                f"group {index} has {len(group)} response(s), but needs {smallest} or more: "
                "raise rollout.samples_per_prompt or drop the group"
            )
        if not np.isfinite(group).all():
            bad = int(np.flatnonzero(~np.isfinite(group))[0])
            raise NumericsError(
                f"reward {bad} of group {index} is {group[bad]}: every reward must be finite"
            )
    return groups


def _whitened(groups: list[npt.NDArray[np.float64]], counts: Counts) -> list[Floats]:
    """Values less their mean over their sample standard deviation, each counted `counts` times."""
    if not groups:
        return []
    mean, std = _moments(groups, counts, [np.zeros(len(group)) for group in groups])
    return [((group - mean) / std).astype(np.float32) for group in groups]


def _moments(
    groups: Sequence[npt.NDArray[np.float64]],
    counts: Counts,
    within: Sequence[npt.NDArray[np.float64]],
) -> tuple[float, float]:
    """Mean and sample deviation + 1e-6 of values that occur `counts` times, with variance `within` around each."""
    values, spread = np.concatenate(groups), np.concatenate(within)
    times = np.concatenate([np.asarray(group, dtype=np.float64) for group in counts])
    total = times.sum()
    if total == 0:  # nothing is trained on
        return 0.0, 1.0
    if total < 2:
        raise DataError("a batch of one response has no standard deviation: pass two or more")
    mean = (times * values).sum() / total
    squares = (times * ((values - mean) ** 2 + spread)).sum()
    return float(mean), float(np.sqrt(squares / (total - 1)) + STD_EPS)
