"""What the drivers share: the run in progress, and when something is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medray.observability.console import Console
from medray.observability.sinks import MetricSink
from medray.observability.timers import StepTimer
from medray.types import Prompt


@dataclass(frozen=True)
class PromptSets:
    """Rendered prompts of both sides of the split."""

    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]


@dataclass
class Run:
    """A run in progress: its data, where it stands, and where its figures go."""

    prompts: PromptSets
    sink: MetricSink
    console: Console
    first_step: int = 0  # step of the checkpoint the run continues from; 0 on a fresh run
    prompt_position: int = 0
    scalars: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of that checkpoint
    timer: StepTimer = field(default_factory=StepTimer)

    def record(self, step: int, metrics: dict[str, float]) -> None:
        """Hand the step's figures to the sinks and start the next step's clock."""
        seconds = self.timer.seconds()
        rollout_s = seconds.get("time/rollout_s", 0.0)
        if rollout_s > 0 and "rollout/tokens" in metrics:
            metrics["rollout/tokens_per_s"] = metrics["rollout/tokens"] / rollout_s
        self.sink.record(step, metrics | seconds)
        self.timer.start_step()


def due(step: int, every: int, last: int) -> bool:
    """True at multiples of `every` and at the last step."""
    return step % every == 0 or step == last
