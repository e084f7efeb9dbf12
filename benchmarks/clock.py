"""Seconds of each optimizer step of a transformers Trainer."""

from __future__ import annotations

import time
from typing import Any


def step_clock() -> Any:
    """A callback whose `seconds()` are the steps' wall times."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.marks = [time.perf_counter()]

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.marks = [time.perf_counter()]

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.marks.append(time.perf_counter())

        def seconds(self) -> list[float]:
            return [b - a for a, b in zip(self.marks, self.marks[1:], strict=False)]

    return Clock()
