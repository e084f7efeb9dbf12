"""The losses once more, as slow loops over Python floats, written from the equations alone.

Nothing here imports the product or a tensor library; `numeric_gradient` gives derivatives by
central differences. Every function names the source whose equation it follows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

Vector = Sequence[float]
Matrix = Sequence[Vector]


def numeric_gradient(
    function: Callable[[list[float]], float], at: Vector, step: float = 1e-5
) -> list[float]:
    """Central differences of a scalar function."""
    gradient = []
    for i in range(len(at)):
        up, down = list(at), list(at)
        up[i] += step
        down[i] -= step
        gradient.append((function(up) - function(down)) / (2 * step))
    return gradient


# The output head


def final_logits(
    hidden: Vector,
    weight: Matrix,
    bias: Vector | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
    temperature: float = 1.0,
) -> list[float]:
    """Logits of one position; the softcap is that of Gemma 2, arXiv:2408.00118."""
    logits = []
    for token, row in enumerate(weight):
        x = sum(h * w for h, w in zip(hidden, row, strict=True))
        if bias is not None:
            x += bias[token]
        x *= scale
        if softcap is not None:
            x = softcap * math.tanh(x / softcap)
        logits.append(x / temperature)
    return logits


def log_softmax(logits: Vector) -> list[float]:
    top = max(logits)
    log_sum = top + math.log(sum(math.exp(x - top) for x in logits))
    return [x - log_sum for x in logits]


def entropy(log_p: Vector) -> float:
    return -sum(math.exp(x) * x for x in log_p)


# Advantages


def group_advantages(rewards: Matrix, scale: str) -> list[list[float]]:
    """GRPO, arXiv:2402.03300 section 4.1.2; "none" is arXiv:2503.20783."""
    out = []
    for group in rewards:
        mean = sum(group) / len(group)
        spread = 1.0
        if scale == "std":
            variance = sum((r - mean) ** 2 for r in group) / (len(group) - 1)
            spread = math.sqrt(variance) + 1e-6
        out.append([(r - mean) / spread for r in group])
    return out


def rloo(rewards: Matrix) -> list[list[float]]:
    """arXiv:2402.14740."""
    out = []
    for group in rewards:
        row = []
        for i, reward in enumerate(group):
            others = [r for j, r in enumerate(group) if j != i]
            row.append(reward - sum(others) / len(others))
        out.append(row)
    return out


def whitened(groups: Matrix, counts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Less the mean, over the sample deviation, of a list that holds each value `counts` times."""
    every = [
        value
        for group, times in zip(groups, counts, strict=True)
        for value, count in zip(group, times, strict=True)
        for _ in range(count)
    ]
    mean = sum(every) / len(every)
    std = math.sqrt(sum((a - mean) ** 2 for a in every) / (len(every) - 1))
    return [[(a - mean) / (std + 1e-6) for a in group] for group in groups]


def reinforce_pp(
    rewards: Matrix, counts: Sequence[Sequence[int]], baseline: bool
) -> list[list[float]]:
    """arXiv:2501.03262, with and without the group's mean as baseline."""
    if baseline:
        rewards = [[r - sum(group) / len(group) for r in group] for group in rewards]
    return whitened(rewards, counts)


def opo(rewards: Matrix, counts: Sequence[Sequence[int]]) -> list[list[float]]:
    """arXiv:2505.23585."""
    out = []
    for group, sizes in zip(rewards, counts, strict=True):
        baseline = sum(r * n for r, n in zip(group, sizes, strict=True)) / sum(sizes)
        out.append([r - baseline for r in group])
    return out


def pass_at_k(rewards: Matrix, k: int, threshold: float) -> list[list[float]]:
    """arXiv:2508.10751, by enumeration: subsets of k are worth their best response, a response the mean of its own."""
    out = []
    for group in rewards:
        subsets = list(itertools.combinations(range(len(group)), k))
        worth = [float(any(group[i] > threshold for i in s)) for s in subsets]
        mean = sum(worth) / len(worth)
        spread = math.sqrt(sum((w - mean) ** 2 for w in worth) / len(worth))
        row = []
        for i in range(len(group)):
            own = [w for w, s in zip(worth, subsets, strict=True) if i in s]
            row.append((sum(own) / len(own) - mean) / spread if spread else 0.0)
        out.append(row)
    return out


def gdpo(
    rewards: Sequence[tuple[float, Matrix]], counts: Sequence[Sequence[int]]
) -> list[list[float]]:
    """arXiv:2601.05242."""
    scaled = [(w, group_advantages(values, "std")) for w, values in rewards]
    sums = [
        [sum(w * values[p][g] for w, values in scaled) for g in range(len(group))]
        for p, group in enumerate(rewards[0][1])
    ]
    return whitened(sums, counts)


def gae(
    rewards: Vector,
    values: Vector,
    lengths: Sequence[int],
    gamma: float,
    lam: float,
) -> list[float]:
    """arXiv:1506.02438 eq. 16, as the sum of discounted residuals rather than the recursion."""
    out, start = [], 0
    for length in lengths:
        v = [*values[start : start + length], 0.0]
        r = rewards[start : start + length]
        delta = [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            out.append(sum((gamma * lam) ** k * delta[t + k] for k in range(length - t)))
        start += length
    return out


# Per-token losses


def kl_estimator(logp: float, ref_logp: float, name: str) -> float:
    """J. Schulman, "Approximating KL divergence": in r = p(x) / q(x), x sampled from q."""
    r = math.exp(ref_logp) / math.exp(logp)
    return {"k1": -math.log(r), "k2": math.log(r) ** 2 / 2, "k3": (r - 1) - math.log(r)}[name]


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def ppo_token(
    logp: float, behaviour: float, adv: float, low: float, high: float, dual: float = math.inf
) -> float:
    """arXiv:1707.06347 eq. 7, negated; arXiv:1912.09729 bounds it from below by dual * adv where adv < 0."""
    ratio = math.exp(logp) / math.exp(behaviour)
    objective = min(ratio * adv, clip(ratio, 1 - low, 1 + high) * adv)
    return -(max(objective, dual * adv) if adv < 0 else objective)


def gspo_sequence(logp: Vector, behaviour: Vector, adv: float, low: float, high: float) -> float:
    """arXiv:2507.18071 eq. 5 and 7, negated: one value for the whole response."""
    ratio = 1.0
    for new, old in zip(logp, behaviour, strict=True):
        ratio *= math.exp(new) / math.exp(old)
    ratio **= 1 / len(logp)
    return -min(ratio * adv, clip(ratio, 1 - low, 1 + high) * adv)


def gmpo_sequence(logp: Vector, behaviour: Vector, adv: float, low: float, high: float) -> float:
    """arXiv:2507.20673, negated: the T-th root of a product of ratios, each bounded where adv pushes on."""
    product = 1.0
    for new, old in zip(logp, behaviour, strict=True):
        ratio = math.exp(new) / math.exp(old)
        near = clip(ratio, math.exp(-low), math.exp(high))
        product *= min(ratio, near) if adv >= 0 else max(ratio, near)
    return -(product ** (1 / len(logp))) * adv


def sapo_token(logp: float, behaviour: float, adv: float, tau_pos: float, tau_neg: float) -> float:
    """arXiv:2511.20347, negated."""
    tau = tau_pos if adv > 0 else tau_neg
    return -sigma(tau * (math.exp(logp - behaviour) - 1)) * 4 / tau * adv


def covariances(logp: Vector, adv: Vector) -> list[float]:
    """arXiv:2505.22617: token by token, around the means over the batch."""
    mean_logp, mean_adv = sum(logp) / len(logp), sum(adv) / len(adv)
    return [(a - mean_adv) * (x - mean_logp) for x, a in zip(logp, adv, strict=True)]


def dppo_token(
    logp: float, behaviour: float, adv: float, held: float, bound: float, kl: bool = False
) -> float:
    """arXiv:2602.04879, negated; `held` is logp as a constant, for the weight and the mask."""
    p, q = math.exp(held), math.exp(behaviour)
    moved = p - q
    far = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p)) if kl else abs(moved)
    if adv * moved > 0 and far > bound:
        return 0.0
    return -min(p / q, 20.0) * adv * logp


def clipped_value(value: float, old: float, target: float, bound: float) -> float:
    """PPO's value loss; arXiv:2005.12729 section 3."""
    near = clip(value, old - bound, old + bound)
    return 0.5 * max((value - target) ** 2, (near - target) ** 2)


def aggregate(
    per_sequence: Matrix, how: str, num_tokens: int, num_sequences: int, max_new_tokens: int
) -> float:
    """One micro-batch's part, from the losses of each response's tokens."""
    total = 0.0
    for losses in per_sequence:
        if not losses:
            continue
        if how == "token":
            total += sum(losses) / num_tokens
        elif how == "sequence":
            total += sum(losses) / len(losses) / num_sequences
        else:
            total += sum(losses) / (num_sequences * max_new_tokens)
    return total


# Preferences


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def dpo(margin: float, beta: float, smoothing: float = 0.0) -> float:
    """arXiv:2305.18290 eq. 7, with Mitchell's smoothing."""
    right = math.log(sigma(beta * margin))
    wrong = math.log(1 - sigma(beta * margin))
    return -(1 - smoothing) * right - smoothing * wrong


def robust_dpo(margin: float, beta: float, smoothing: float) -> float:
    """arXiv:2403.00409: the noisy loss solved for the clean one."""
    clean, flipped = dpo(margin, beta), dpo(-margin, beta)
    return ((1 - smoothing) * clean - smoothing * flipped) / (1 - 2 * smoothing)


def exo(w: float, x: float, beta: float, smoothing: float = 1e-3) -> float:
    """arXiv:2402.00856 eq. 16: KL of the policy's preference from the smoothed label."""
    p = sigma(beta * (w - x))
    return p * math.log(p / (1 - smoothing)) + (1 - p) * math.log((1 - p) / smoothing)


def nca(w: float, x: float, beta: float) -> float:
    """arXiv:2402.05369 for a pair."""
    r, s = beta * w, beta * x
    return -math.log(sigma(r)) - math.log(sigma(-r)) / 2 - math.log(sigma(-s)) / 2


def sppo(w: float, x: float, beta: float) -> float:
    """arXiv:2405.00675 eq. 4.7, wins certain: (log ratio - eta (P - 1/2))^2 with eta = 1 / beta."""
    return (w - (1 - 0.5) / beta) ** 2 + (x - (0 - 0.5) / beta) ** 2


def apo_zero(w: float, x: float, beta: float) -> float:
    """arXiv:2408.06266 eq. 7."""
    return -sigma(beta * w) + sigma(beta * x) + 1


def apo_down(w: float, x: float, beta: float) -> float:
    """arXiv:2408.06266 eq. 8."""
    return sigma(beta * w) - sigma(beta * (w - x)) + 1


def discopop(w: float, x: float, beta: float, tau: float = 0.05) -> float:
    """arXiv:2406.08414 eq. 5."""
    rho = beta * (w - x)
    share = sigma(rho / tau)
    return -(1 - share) * math.log(sigma(rho)) + share * math.exp(-rho)


def bco(gains: Sequence[tuple[float, float]], beta: float) -> float:
    """arXiv:2404.04656: binary cross-entropy of rewards less their mean, a constant; mean over pairs."""
    shift = sum(beta * (w + x) for w, x in gains) / (2 * len(gains))
    losses = [
        -math.log(sigma(beta * w - shift)) - math.log(1 - sigma(beta * x - shift)) for w, x in gains
    ]
    return sum(losses) / len(gains)


def aot(left: Vector, right: Vector, beta: float, smoothing: float = 0.0) -> float:
    """arXiv:2406.05882: mean of the loss of quantiles, left above right."""
    quantiles = list(zip(sorted(left), sorted(right), strict=True))
    return sum(dpo(x - y, beta, smoothing) for x, y in quantiles) / len(quantiles)


def wpo_weight(log_ps: Sequence[tuple[Matrix, Sequence[int]]]) -> float:
    """arXiv:2406.11827 eq. 2 with sampled alignment, at most 1; of each response the log-distributions and tokens."""
    total = 0.0
    for distributions, tokens in log_ps:
        aligned = [
            d[t] - math.log(sum(math.exp(2 * x) for x in d))
            for d, t in zip(distributions, tokens, strict=True)
        ]
        total += sum(aligned) / len(aligned)
    return min(1.0, math.exp(total))


PAIR_LOSSES = {
    "exo": exo,
    "nca": nca,
    "sppo": sppo,
    "apo-zero": apo_zero,
    "apo-down": apo_down,
    "discopop": discopop,
}


def odds_ratio_loss(chosen_mean: float, rejected_mean: float) -> float:
    """arXiv:2403.07691 eq. 7."""
    p, q = math.exp(chosen_mean), math.exp(rejected_mean)
    return -math.log(sigma(math.log((p / (1 - p)) / (q / (1 - q)))))


def kto(log_ratio: float, desirable: bool, z: float, beta: float, weight: float) -> float:
    """arXiv:2402.01306: lambda_y - v(x, y)."""
    value = sigma(beta * (log_ratio - z)) if desirable else sigma(beta * (z - log_ratio))
    return weight - weight * value


def bradley_terry(chosen: float, rejected: float, margin: float, centring: float) -> float:
    """arXiv:2307.09288 eq. 2 and arXiv:2312.09244."""
    return -math.log(sigma(chosen - rejected - margin)) + centring * (chosen + rejected) ** 2


def cross_entropy(score: float, label: float) -> float:
    """arXiv:2312.08935 eq. 2, the probability being sigma(score)."""
    return -label * math.log(sigma(score)) - (1 - label) * math.log(1 - sigma(score))


# Distillation


def divergence(log_student: Vector, log_teacher: Vector, name: str, beta: float) -> float:
    """arXiv:2306.13649 section 2."""
    student = [math.exp(x) for x in log_student]
    teacher = [math.exp(x) for x in log_teacher]

    def kl(p: Vector, q: Vector) -> float:
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    if name == "forward_kl":
        return kl(teacher, student)
    if name == "reverse_kl":
        return kl(student, teacher)
    mixture = [beta * t + (1 - beta) * s for t, s in zip(teacher, student, strict=True)]
    return beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)
