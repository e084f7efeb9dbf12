"""The log of an importance ratio, checked and bounded."""

import torch
from jaxtyping import Float
from torch import Tensor

from medray.errors import NumericsError
from medray.losses.kl import LOG_RATIO_BOUND


def log_ratio(
    logp: Float[Tensor, " N"], behaviour_logp: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """logp - behaviour_logp in nats, constant beyond 20 either way.

    Raises:
        NumericsError: behaviour_logp is not finite.
    """
    finite = torch.isfinite(behaviour_logp)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise NumericsError(
            f"behaviour_logp[{first}] is {float(behaviour_logp[first])}: the engine returned no usable "
            "log-probability for a trained token; drop the response or mask the token"
        )
    return (logp - behaviour_logp).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
