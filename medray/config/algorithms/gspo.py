"""GSPO: one importance ratio per response, the geometric mean of its tokens' ratios, clipped as a whole.

    s = exp(mean over the response's tokens of log rho);  loss = mean over responses of -min(s A, clip(s) A)

The bounds are those of the paper, section 5.1: a mean over tokens stays much nearer to 1 than one token's ratio.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from medray.config.algorithms.base import GroupScaled
from medray.config.parts import LossName
from medray.config.policy import Aggregation


class Gspo(GroupScaled):
    """GRPO with the ratio of the response instead of the token's."""

    title: ClassVar[str] = "GSPO"
    paper: ClassVar[str] = "2507.18071"

    kind: str = "gspo"
    """This algorithm."""
    advantage_scale: Literal["none", "std"] = "std"
    """Divide the group's centered rewards by their sample standard deviation, or leave them."""
    loss: LossName = "gspo"
    """The clipped ratio of the response; others are as in every algorithm."""
    aggregation: Aggregation = "sequence"
    """Mean over responses, since a response has one ratio; token and fixed are as in every algorithm."""
    clip_low: float = Field(default=3e-4, ge=0, le=1)
    """The response's ratio is clipped below at 1 - clip_low."""
    clip_high: float = Field(default=4e-4, ge=0)
    """The response's ratio is clipped above at 1 + clip_high."""
