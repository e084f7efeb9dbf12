"""A stream of prompts that are drawn by how often the policy answers them right."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from medray.config.curriculum import CurriculumConfig
from medray.data.batches.stream import PromptStream
from medray.errors import DataError
from medray.types import Prompt

UNKNOWN = 0.5
"""Pass rate of a prompt that was never sampled: it then has the largest weight."""


class CurriculumStream(PromptStream):
    """Prompts without end, each drawn by the pass rates at the time.

    A draw depends on the seed, its position, the rates and the last draws, which `state` holds: a stream that is made
    with them continues as if it had never stopped.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        seed: int,
        position: int = 0,
        *,
        config: CurriculumConfig,
        apart: int,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            prompts, seed, position: as in `PromptStream`.
            config: how prompts are weighted.
            apart: a prompt is not drawn again among this many draws, as far as there are others.
            state: of a checkpoint, from `state_from(position)`.
        """
        super().__init__(prompts, seed, position)
        self.config = config
        self._index = {id(prompt): i for i, prompt in enumerate(self._prompts)}
        self._rates = np.full(len(self._prompts), UNKNOWN)
        self._counts = np.zeros(len(self._prompts), dtype=np.int64)  # times that each was sampled
        self._left_out = np.zeros(len(self._prompts), dtype=np.bool_)
        self._recent: deque[int] = deque(maxlen=apart)
        self._drawn: dict[int, int] = {}  # position -> prompt, since the last checkpoint
        if state is not None:
            self._restore(state)

    def observe(self, results: Iterable[tuple[Prompt, Sequence[float]]]) -> None:
        """Move the pass rates of sampled prompts.

        Args:
            results: prompts of this stream, and the graded rewards of their responses.
        """
        for prompt, rewards in results:
            i = self._index[id(prompt)]
            passed = float(np.mean([reward > self.config.threshold for reward in rewards]))
            kept = self.config.momentum if self._counts[i] else 0.0
            self._rates[i] = kept * self._rates[i] + (1 - kept) * passed
            self._counts[i] += 1

    def leave_out(self) -> int:
        """Leave out the prompts whose pass rate is outside the bounds; returns how many.

        Raises:
            DataError: no prompt is left.
        """
        known = self._counts > 0
        outside = (self._rates < self.config.low) | (self._rates > self.config.high)
        self._left_out = known & outside
        if self._left_out.all():
            raise DataError(
                f"every prompt's measured pass rate is outside [{self.config.low:g}, {self.config.high:g}]: widen "
                "curriculum.low and curriculum.high, or lower curriculum.threshold"
            )
        return int(self._left_out.sum())

    def metrics(self) -> dict[str, float]:
        """Pass rates of the prompts that were sampled so far."""
        known = self._counts > 0
        if not known.any():
            return {}
        return {
            "curriculum/pass_rate": float(self._rates[known].mean()),
            "curriculum/seen_share": float(known.mean()),
            "curriculum/hard_share": float((self._rates[known] <= self.config.hard).mean()),
            "curriculum/left_out": float(self._left_out.sum()),
        }

    def state_from(self, position: int) -> dict[str, Any]:
        """Pass rates, and the draws from `position` on with those just before, as JSON values."""
        self._drawn = {p: i for p, i in self._drawn.items() if p >= position}
        seen = np.flatnonzero(self._counts)
        return {
            "curriculum": {
                "rates": [[int(i), float(self._rates[i]), int(self._counts[i])] for i in seen],
                "left_out": np.flatnonzero(self._left_out).tolist(),
                "recent": list(self._recent),
                "drawn": [[p, i] for p, i in sorted(self._drawn.items())],
            }
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        for i, rate, count in state["rates"]:
            self._rates[i], self._counts[i] = rate, count
        self._left_out[state["left_out"]] = True
        self._recent.extend(state["recent"])
        self._drawn = dict(state["drawn"])

    def _at(self, position: int) -> Prompt:
        if position not in self._drawn:
            self._drawn[position] = self._draw(random.Random(f"{self._seed}/draw {position}"))
            self._recent.append(self._drawn[position])
        return self._prompts[self._drawn[position]]

    def _draw(self, chance: random.Random) -> int:
        replays, at = chance.random() < self.config.replay, chance.random()
        weights = self._weights()
        weights[self._left_out] = 0
        fresh = weights.copy()
        fresh[list(self._recent)] = 0
        if fresh.any():
            weights = fresh
        if replays:
            hard = np.where((self._counts > 0) & (self._rates <= self.config.hard), weights, 0)
            weights = hard if hard.any() else weights
        ends = weights.cumsum()
        return int(np.searchsorted(ends, at * ends[-1], side="right"))

    def _weights(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        if self.config.sampling == "uniform":
            return np.ones(len(self._prompts))
        floor = self.config.floor
        return floor + (1 - floor) * 4 * self._rates * (1 - self._rates)
