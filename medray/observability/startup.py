"""Where the time from submitting a job to its first optimizer step went: `startup.json` in the run folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from medray.storage.atomic import write_text

STARTUP_FILE = "startup.json"


class Startup:
    """Phases that follow one another, from submission, where somebody tells when, or else from the process's start.

    Args:
        clock: seconds since the epoch.
        submitted_at: the same, of the submission; None takes MEDRAY_SUBMITTED_AT.
        process_at: the same, of this process's start; None asks the system.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        submitted_at: float | None = None,
        process_at: float | None = None,
    ) -> None:
        self._clock = clock
        started = psutil.Process().create_time() if process_at is None else process_at
        told = (
            os.environ.get("MEDRAY_SUBMITTED_AT", "") if submitted_at is None else str(submitted_at)
        )
        self.seconds: dict[str, float] = {}
        self.actors: dict[str, float] = {}
        self._started = self._last = started
        self.done = False
        if told.replace(".", "", 1).isdigit():
            self.submitted(float(told))

    def submitted(self, at: float | None) -> None:
        """The job was submitted then (seconds since the epoch): upload, queue and the driver's process count too.

        What was told first stays; a time after the process's start, of another machine's clock, does not count.
        """
        if at is not None and at < self._started and "submit" not in self.seconds:
            self.seconds = {"submit": self._started - at} | self.seconds

    def mark(self, phase: str) -> None:
        """`phase` ends now; after `finish` nothing is counted any more."""
        if self.done:
            return
        now = self._clock()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now

    def note_actors(self, seconds: Mapping[str, float]) -> None:
        """How long each actor says that its own start took."""
        self.actors = dict(seconds)

    @property
    def total_s(self) -> float:
        """Total start-up time, in seconds."""
        return sum(self.seconds.values())

    @property
    def spread(self) -> float | None:
        """The actors' phase over the slowest actor's own start: 1 when all of them started at once."""
        slowest = max(self.actors.values(), default=0.0)
        return (
            self.seconds["actors"] / slowest if slowest > 0 and "actors" in self.seconds else None
        )

    def finish(self, folder: str | Path) -> None:
        """The first step has been taken: write the file, once."""
        if self.done:
            return
        self.mark("first step")
        self.done = True
        told = {
            "total_s": self.total_s,
            "phases_s": self.seconds,
            "actors_s": self.actors,
            "actors_over_slowest": self.spread,
        }
        write_text(Path(folder, STARTUP_FILE), json.dumps(told, indent=2) + "\n")

    def line(self) -> str:
        """`67 s: driver 4, ray 3, actors 25, sync 1, evaluation 12, first step 22`"""
        parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.seconds.items())
        return f"{self.total_s:.0f} s: {parts}"
