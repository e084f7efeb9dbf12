"""SAPO: a soft gate in the place of the clip, so that tokens fade out of the gradient instead of dropping out.

    f(rho) = 4 / tau sigmoid(tau (rho - 1));  loss = mean over responses of the mean over tokens of -f(rho) A

tau is 1 where A > 0 and 1.05 elsewhere: what the advantage pushes down is held more tightly. Other values:
`algorithm.loss={kind: sapo, options: {tau_pos: 1, tau_neg: 1.1}}`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from medray.config.algorithms.base import GroupScaled
from medray.config.parts import LossName
from medray.config.policy import Aggregation


class Sapo(GroupScaled):
    """GRPO with a soft gate on the ratio."""

    title: ClassVar[str] = "SAPO"
    paper: ClassVar[str] = "2511.20347"

    kind: str = "sapo"
    """This algorithm."""
    advantage_scale: Literal["none", "std"] = "std"
    """Divide the group's centered rewards by their sample standard deviation, or leave them."""
    loss: LossName = "sapo"
    """The soft gate; others are as in every algorithm."""
    aggregation: Aggregation = "sequence"
    """Mean over responses of their token mean; token and fixed are as in every algorithm."""
