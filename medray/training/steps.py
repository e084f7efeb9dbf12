"""What the drivers share: the run in progress, and when something is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medray.observability.console.base import Console
from medray.observability.sinks import MetricSink
from medray.observability.startup import Startup
from medray.observability.timers import StepTimer
from medray.storage.mirror import Mirror
from medray.types import Prompt


@dataclass(frozen=True)
class PromptSets:
    """Rendered prompts of both sides of the split."""

    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    summary: str = ""  # one line for people: rows read, dropped, skipped, trained on
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])  # the same as JSON values


@dataclass
class Run:
    """A run in progress: its data, where it stands, and where its figures go."""

    prompts: PromptSets
    sink: MetricSink
    console: Console
    first_step: int = 0  # step of the checkpoint the run continues from; 0 on a fresh run
    prompt_position: int = 0
    prompts_ahead: tuple[int, ...] = ()  # positions after that which were trained on before
    scalars: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of that checkpoint
    timer: StepTimer = field(default_factory=StepTimer)
    startup: Startup = field(default_factory=Startup)
    out: str | None = None  # run folder, for what is written beside the metrics
    mirror: Mirror | None = None

    def record(self, step: int, metrics: dict[str, float]) -> None:
        """Hand the step's figures to the sinks and start the next step's clock."""
        seconds = self.timer.seconds()
        overlapped = "async/lag_max" in metrics
        rollout_s = seconds.get("time/step_s" if overlapped else "time/rollout_s", 0.0)
        if rollout_s > 0 and "rollout/tokens" in metrics:
            metrics["rollout/tokens_per_s"] = metrics["rollout/tokens"] / rollout_s
        self.sink.record(step, metrics | seconds)
        if self.out is not None and not self.startup.done:
            self.startup.finish(self.out)
            self.console.note(f"time to the end of the first step: {self.startup.line()}")
        self.timer.start_step()

    def copy_files(self) -> None:
        """Copy settings and metrics to the mirror, if there is one; before a checkpoint, which must not be ahead."""
        if self.mirror is not None:
            self.mirror.push_run_files()


def due(step: int, every: int, last: int) -> bool:
    """True at multiples of `every` and at the last step."""
    return step % every == 0 or step == last
