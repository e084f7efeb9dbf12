"""DPPO: tokens leave the update by how far their probability has moved, not by their ratio.

    loss = sum over tokens of -stop_gradient(min(rho, 20)) A logp / constant, without the tokens that the
    advantage would push further than |p - p_behaviour| = clip_high (upwards) or clip_low (downwards)

`algorithm.loss=dppo_kl` measures the distance by KL(p_behaviour || p) of the token against all others together, in
nats. Bounds (0.15; 0.05 for dppo_kl), advantages and the constant are those of the authors' runs with verl
(examples/dppo_trainer).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from medray.config.algorithms.base import GroupScaled
from medray.config.parts import LossName
from medray.config.policy import Aggregation


class Dppo(GroupScaled):
    """REINFORCE with importance weights inside a trust region of total variation."""

    title: ClassVar[str] = "DPPO"
    paper: ClassVar[str] = "2602.04879"

    kind: str = "dppo"
    """This algorithm."""
    loss: LossName = "dppo_tv"
    """dppo_tv or dppo_kl; others are as in every algorithm."""
    aggregation: Aggregation = "fixed"
    """Sum over tokens / (responses * max_new_tokens), unless set to token or sequence."""
    clip_low: float = Field(default=0.15, ge=0)
    """Largest fall of a token's probability (dppo_kl: nats)."""
    clip_high: float = Field(default=0.15, ge=0)
    """Largest rise of a token's probability (dppo_kl: nats)."""
