"""Looking into a job that runs as a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from medray.storage.metrics_file import MetricRow, read_metrics


def train_rows(out: Path | str) -> list[MetricRow]:
    """The rows of a run's training steps; none before the first."""
    path = Path(out)
    found = read_metrics(path) if (path / "metrics.jsonl").is_file() else []
    return [row for row in found if row.kind == "train"]


def wait_for_step(out: Path, step: int, process: psutil.Popen, deadline_s: float = 200) -> None:
    """Return once the job at `out` has recorded training step `step`."""
    end = time.monotonic() + deadline_s
    while True:
        if any(row.step >= step for row in train_rows(out)):
            return
        assert process.poll() is None, f"the job ended early: {process.communicate()[0]}"
        assert time.monotonic() < end, f"step {step} did not come"
        time.sleep(0.05)


def actor_processes(job: psutil.Process, actor: str) -> list[psutil.Process]:
    """The processes of a job that run actors of the class `actor`."""
    return [
        p
        for p in job.children(recursive=True)
        if p.name().startswith(f"ray::{actor}") or actor in _line(p)
    ]


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
