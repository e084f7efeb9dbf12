"""The loss of a process reward model: cross-entropy on whether each step of a solution is right."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def step_loss(score: Float[Tensor, " N"], label: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """-y * log sigma(s) - (1 - y) * log sigma(-s) for a step's score s (log-odds) and label y.

    Its gradient with respect to s is sigma(s) - y: a soft label is the probability that training pulls
    sigma(s) to. N counts labelled steps.

    Args:
        score: log-odds that the step is right; carries grad.
        label: in [0, 1]; 0 and 1 are verdicts, others estimates of a step's value.

    Source: arXiv:2305.20050 (verdicts); arXiv:2312.08935 eq. 2 with the soft estimation of eq. 4.
    """
    return -label * F.logsigmoid(score) - (1 - label) * F.logsigmoid(-score)
