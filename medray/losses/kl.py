"""Per-token estimators of KL(policy || reference) from two log-probabilities of the sampled token.

With d = logp - ref_logp, for tokens sampled from the policy:

    estimator   value            expected value     gradient when used as a loss
    k1          d                the KL             zero in expectation
    k2          d^2 / 2          biased, low noise  that of the KL
    k3          e^-d - 1 + d     the KL, >= 0       that of KL(reference || policy)

Why the gradients differ from the values: the derivative of the KL also acts on the distribution
the tokens were drawn from, which a loss over given tokens does not see. With s = d logp / d theta
and E[s] = 0, grad KL = E[d * s]. As losses k1 gives E[s] = 0, k2 gives E[d * s], and k3 gives
E[(1 - e^-d) * s], which agrees with k2 to first order in d. So k1 belongs in the reward, where it
is multiplied by s and is right; as a loss, k2 is the one whose gradient is that of the KL.

Source: J. Schulman, "Approximating KL divergence" (joschu.net/blog/kl-approx.html) for the values;
arXiv:2510.01555 for the gradients.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from medray.config.parts import KL_ESTIMATOR, KlEstimatorName
from medray.plugins import make_part

KlEstimator = Callable[[Tensor, Tensor], Tensor]
"""(logp [N], ref_logp [N]) -> nats per token [N]"""

LOG_RATIO_BOUND = 20.0
"""k3 is constant beyond this log ratio, so that one token cannot overflow the step."""


def k1(logp: Float[Tensor, " N"], ref_logp: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """logp - ref_logp in nats: unbiased, may be negative; as a loss its gradient averages to 0."""
    return logp - ref_logp


def k2(logp: Float[Tensor, " N"], ref_logp: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """(logp - ref_logp)^2 / 2 in nats: a biased value; as a loss its gradient is the KL's."""
    return 0.5 * (logp - ref_logp).square()


def k3(logp: Float[Tensor, " N"], ref_logp: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """exp(ref_logp - logp) - 1 - (ref_logp - logp) in nats: unbiased and never negative.

    As a loss its gradient is that of the reverse direction, KL(reference || policy). Beyond a
    difference of 20 nats the value stays at its bound and the gradient is zero.
    """
    gap = (ref_logp - logp).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    return torch.expm1(gap) - gap


def importance_weighted(
    estimator: KlEstimator,
    logp: Float[Tensor, " N"],
    ref_logp: Float[Tensor, " N"],
    behaviour_logp: Float[Tensor, " N"],
) -> Float[Tensor, " N"]:
    """An estimate of the KL whose gradient as a loss is that of KL(policy || reference), whoever sampled.

    r * estimate with r = exp(logp - behaviour_logp), whose gradient also goes through r: that is the
    part of the KL's gradient which a loss over given tokens lacks. With d = logp - ref_logp and s = d
    logp / d theta the gradient of r * k3 is r * d * s, of r * k1 r * (d + 1) * s; the expected value of
    both is that of d * s under the policy. The gradient of k2 is d * s already, so it is weighted by a
    constant r.

    Args:
        estimator: k1, k2, k3 or one's own, which is taken to be unbiased.
        logp: nats, under the policy being trained; carries grad.
        ref_logp: nats, under the reference.
        behaviour_logp: nats, under the policy that sampled the token. r is constant beyond 20 nats.

    Source: DeepSeek-V3.2, arXiv:2512.02556 ("unbiased KL estimate", of k3).
    """
    gap = (logp - behaviour_logp).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
    ratio = (gap.detach() if estimator is k2 else gap).exp()
    return ratio * estimator(logp, ref_logp)


def bernoulli_kl(logp: Float[Tensor, " N"], other_logp: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """KL of two distributions over a token and all others together, from the token's log-probabilities (nats)."""
    rest, other_rest = ((-torch.expm1(x)).clamp(min=1e-8) for x in (logp, other_logp))
    return logp.exp() * (logp - other_logp) + rest * (rest / other_rest).log()


KL_ESTIMATORS: dict[str, KlEstimator] = {"k1": k1, "k2": k2, "k3": k3}


def kl_estimator(name: KlEstimatorName) -> KlEstimator:
    """The estimator of that name, or your own; the module's text says which one to differentiate.

    Raises:
        ConfigError: your own cannot be imported or called.
    """
    return make_part(name, KL_ESTIMATOR, "algorithm.kl.estimator", KL_ESTIMATORS)
