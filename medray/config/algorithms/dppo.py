"""DPPO: tokens leave the update by how far their probability has moved, not by their ratio.

    loss = sum over tokens of -stop_gradient(min(rho, 20)) A logp / tokens of the step, without the tokens that
    the advantage would push further than |p - p_behaviour| = clip_high (upwards) or clip_low (downwards)

`algorithm.loss=dppo_kl` measures the distance by KL(p_behaviour || p) of the token against all others together, in
nats; 0.05 for both bounds is the authors' choice there.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from medray.config.algorithms.base import GroupScaled
from medray.config.parts import LossName


class Dppo(GroupScaled):
    """REINFORCE with importance weights inside a trust region of total variation."""

    title: ClassVar[str] = "DPPO"
    paper: ClassVar[str] = "2602.04879"

    kind: str = "dppo"
    """This algorithm."""
    advantage_scale: Literal["none", "std"] = "std"
    """Divide the group's centered rewards by their sample standard deviation, or leave them."""
    loss: LossName = "dppo_tv"
    """dppo_tv or dppo_kl; others are as in every algorithm."""
    clip_low: float = Field(default=0.2, ge=0)
    """Largest fall of a token's probability (dppo_kl: nats)."""
    clip_high: float = Field(default=0.2, ge=0)
    """Largest rise of a token's probability (dppo_kl: nats)."""
