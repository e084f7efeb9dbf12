"""Where the metrics of a run go: always `metrics.jsonl`, and any number of others beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from medray.errors import ConfigError
from medray.observability.trackers import TRACKERS, TensorBoardSink
from medray.storage.metrics_file import JsonlSink

if TYPE_CHECKING:
    from medray.config.run import LoggingConfig


class MetricSink(Protocol):
    """Takes the metrics of one step. Called on the driver, in step order."""

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of training step `step` (from 1)."""
        ...

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take held-out metrics of the policy after `step` steps (0: before the first)."""
        ...

    def close(self) -> None:
        """Write out what is buffered. Must stand being called twice."""
        ...


class CompositeSink:
    """Passes everything to each of `sinks`, in order; closes them all even when one fails."""

    def __init__(self, sinks: Sequence[MetricSink]) -> None:
        self.sinks = tuple(sinks)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of training step `step`."""
        for sink in self.sinks:
            sink.record(step, metrics)

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take held-out metrics of the policy after `step` steps."""
        for sink in self.sinks:
            sink.evaluation(step, metrics)

    def close(self) -> None:
        """Close every sink, the last first; the first failure is raised once all were tried."""
        with ExitStack() as stack:
            for sink in self.sinks:
                stack.callback(sink.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class LargestStep:
    """Remembers the most tokens that a step of this start computed, which its peak memory goes with."""

    def __init__(self, *names: str) -> None:
        """Args: names of the metrics that add up to the tokens of a step."""
        self.names = names
        self.num_tokens = 0

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of training step `step`."""
        self.num_tokens = max(self.num_tokens, int(sum(metrics[name] for name in self.names)))

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Held-out metrics hold no training step."""

    def close(self) -> None:
        """There is nothing open to be closed."""


def open_sinks(
    folder: str | Path,
    logging: LoggingConfig,
    resume_step: int | None = None,
    *,
    trackers: Sequence[str] = (),
    extra: Sequence[MetricSink] = (),
) -> CompositeSink:
    """Open the sinks of the run in `folder`; use as a context manager.

    Args:
        folder: the run folder; made if missing.
        logging: which sinks besides `metrics.jsonl`.
        resume_step: step of the checkpoint the run continues from, later metrics are dropped; None
            starts anew and drops all.
        trackers: names of `TRACKERS`, "wandb" or "mlflow".
        extra: further sinks, such as a `Console`; closed with the rest.

    Raises:
        ConfigError: a tracker is unknown, or its library is not installed.
        ResourceError: the disk is full.
    """
    sinks: list[MetricSink] = [JsonlSink(folder, resume_step)]
    if logging.tensorboard:
        sinks.append(TensorBoardSink(folder, resume_step))
    sinks += [_tracker(name)(folder, resume_step) for name in trackers]
    return CompositeSink([*sinks, *extra])


def _tracker(name: str) -> Callable[..., Any]:
    if name not in TRACKERS:
        raise ConfigError(f"unknown tracker {name!r}: choose from {', '.join(TRACKERS)}")
    return TRACKERS[name]
