"""How a sending learner reaches the engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medray.actors.ray_calls.wait import gather


class EngineCalls:
    """Calls a method of vLLM's protocol on every rollout actor; runs inside the sending learner."""

    def __init__(self, workers: Sequence[Any], deadline_s: float) -> None:
        self.workers = list(workers)
        self.deadline_s = deadline_s

    def __call__(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """One tuple of arguments a worker; waits for all."""
        calls = {
            f"rollout-{i}": worker.transfer.remote(method, *own)
            for i, (worker, own) in enumerate(zip(self.workers, arguments, strict=True))
        }
        gather(calls, deadline_s=self.deadline_s, doing=method)
