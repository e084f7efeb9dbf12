"""CISPO: REINFORCE weighted by a clipped constant ratio, so that no token loses its gradient.

    loss = sum over tokens of -stop_gradient(clip(rho, 0, 1 + clip_high)) A logp / tokens of the step

The paper bounds the ratio above only and leaves the bound to tuning; a largest ratio of 5 is that of
arXiv:2510.13786.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from medray.config.algorithms.base import GroupScaled
from medray.config.parts import LossName


class Cispo(GroupScaled):
    """REINFORCE with a clipped weight."""

    title: ClassVar[str] = "CISPO"
    paper: ClassVar[str] = "2506.13585"

    kind: str = "cispo"
    """This algorithm."""
    advantage_scale: Literal["none", "std"] = "std"
    """Divide the group's centered rewards by their sample standard deviation, or leave them."""
    loss: LossName = "cispo"
    """The clipped weight; others are as in every algorithm."""
    clip_low: float = Field(default=1.0, ge=0, le=1)
    """The weight is at least 1 - clip_low; 1 leaves it unbounded below."""
    clip_high: float = Field(default=4.0, ge=0)
    """The weight is at most 1 + clip_high."""
