"""From graded rewards to the scores that PPO trains on: one float a response, over the whole batch at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from medray.config.ppo import ShapingConfig
from medray.losses.moments import Moments
from medray.types import Floats

EPS = 1e-8


class RewardShaper:
    """Normalises by all rewards met so far, those of the batch included, and cuts what is far out.

    Its moments are part of a checkpoint, so a run that continues shapes rewards as an undisturbed one would.
    """

    def __init__(self, config: ShapingConfig, state: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.moments = Moments(**state) if state else Moments()

    def __call__(self, rewards_PG: Sequence[Sequence[float]]) -> list[Floats]:
        """Normalize and clip the rewards of a step, after adding them to the running moments.

        Args:
            rewards_PG: [P][G] raw rewards.

        Returns:
            [P] arrays of float32 [G].
        """
        self.moments = self.moments.merge(Moments.of(r for group in rewards_PG for r in group))
        scores = [np.asarray(group, dtype=np.float64) for group in rewards_PG]
        if self.config.normalise == "standardise":
            scores = [s - self.moments.mean for s in scores]
        if self.config.normalise != "none":
            scores = [s / self._scale() for s in scores]
        if self.config.clip is not None:
            scores = [np.clip(s, -self.config.clip, self.config.clip) for s in scores]
        return [s.astype(np.float32) for s in scores]

    def state(self) -> dict[str, Any]:
        """What `__init__` takes back; JSON values."""
        return asdict(self.moments)

    def _scale(self) -> float:
        std = self.moments.std
        return std if std > EPS else 1.0  # rewards that never differed have no scale
