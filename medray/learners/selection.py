"""The best checkpoint and early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from medray.config.supervised import SelectionConfig
from medray.errors import ConfigError
from medray.observability.held_out import PREFIX


class Selection:
    """Watches one held-out metric; its state goes into every checkpoint."""

    def __init__(self, config: SelectionConfig, state: Mapping[str, Any] | None = None) -> None:
        self.config = config
        state = state or {}
        self.best_step: int | None = state.get("best_step")
        self.best_value: float = state.get("best_value", math.nan)
        self.num_stale: int = state.get("num_stale", 0)

    def watch(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take the evaluation (`eval/...`) after `step`; True when it is the best so far.

        Raises:
            ConfigError: the evaluation has no such metric.
        """
        name = self.config.metric
        if f"{PREFIX}{name}" not in metrics:
            known = ", ".join(sorted(key.removeprefix(PREFIX) for key in metrics))
            raise ConfigError(f"selection.metric={name} is not measured: use one of {known}")
        value = metrics[f"{PREFIX}{name}"]
        if self._is_better(value):
            self.best_step, self.best_value, self.num_stale = step, value, 0
            return True
        self.num_stale += 1
        return False

    @property
    def is_exhausted(self) -> bool:
        """True when `patience` evaluations brought no improvement."""
        patience = self.config.patience
        return patience is not None and self.num_stale >= patience

    def state(self) -> dict[str, Any]:
        """What `__init__` takes back; JSON values."""
        if self.best_step is None:
            return {"num_stale": self.num_stale}
        return {
            "best_step": self.best_step,
            "best_value": self.best_value,
            "num_stale": self.num_stale,
        }

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.best_step is None:
            return True
        gain = self.best_value - value if self.config.goal == "min" else value - self.best_value
        return gain > self.config.min_change
