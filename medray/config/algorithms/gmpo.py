"""GMPO: the ratio of a response is the geometric mean of its tokens' clipped ratios.

    s = exp(mean over the response's tokens of the clipped log rho);  loss = mean over responses of -s A

A log ratio is clipped like the ratio in GRPO, only where the advantage pushes it further, and within the wide
bounds of the authors' code: a geometric mean hardly feels a single outlier.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from medray.config.algorithms.base import GroupScaled
from medray.config.parts import LossName
from medray.config.policy import Aggregation


class Gmpo(GroupScaled):
    """GRPO with a geometric mean over tokens in the place of the arithmetic one."""

    title: ClassVar[str] = "GMPO"
    paper: ClassVar[str] = "2507.20673"

    kind: str = "gmpo"
    """This algorithm."""
    advantage_scale: Literal["none", "std"] = "std"
    """Divide the group's centered rewards by their sample standard deviation, or leave them."""
    loss: LossName = "gmpo"
    """The geometric mean; others are as in every algorithm."""
    aggregation: Aggregation = "sequence"
    """Mean over responses, since a response has one ratio; token and fixed are as in every algorithm."""
    clip_low: float = Field(default=0.4, ge=0)
    """The log ratio of a token is clipped below at -clip_low."""
    clip_high: float = Field(default=0.4, ge=0)
    """The log ratio of a token is clipped above at clip_high."""
