"""The two small files through which a running job is scaled: what is wanted, and how it stands.

`scale.json` is written by `medray scale` and read by the driver; `workers.json` the other way round. Both lie in the
run folder, so whoever reaches that reaches the job, wherever its processes are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medray.storage.atomic import write_text

WANTED_FILE = "scale.json"
WORKERS_FILE = "workers.json"


def ask_for(folder: Path, rollouts: int) -> None:
    """Ask the job that runs in `folder` for so many rollout workers."""
    wanted = {"rollouts": rollouts, "asked_at": time.time()}
    write_text(folder / WANTED_FILE, json.dumps(wanted) + "\n")


def report_workers(folder: Path, wanted: int, workers: Sequence[Mapping[str, Any]]) -> None:
    """Say how many workers are wanted and how each stands (`name`, `state`)."""
    told = {"wanted": wanted, "at": time.time(), "rollouts": [dict(w) for w in workers]}
    write_text(folder / WORKERS_FILE, json.dumps(told, indent=2) + "\n")


def read_workers(folder: Path) -> dict[str, Any] | None:
    """What the driver last said; None where no driver did."""
    return _read(folder / WORKERS_FILE)


class Wanted:
    """Notices when another number of rollout workers is asked for; a look costs one `stat`."""

    def __init__(self, folder: Path, every_s: float = 1.0) -> None:
        self.path = folder / WANTED_FILE
        self.every_s = every_s
        self._looked_at = 0.0
        self._stamp = self._now()  # what an earlier start of the run was asked is over

    def rollouts(self) -> int | None:
        """The number asked for since the last call, or None."""
        if time.monotonic() - self._looked_at < self.every_s:
            return None
        self._looked_at = time.monotonic()
        stamp = self._now()
        if stamp is None or stamp == self._stamp:
            return None
        self._stamp = stamp
        found = (_read(self.path) or {}).get("rollouts")
        return (
            found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None
        )

    def _now(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None
