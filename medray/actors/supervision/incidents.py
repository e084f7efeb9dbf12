"""What went wrong and was dealt with: one line each in `incidents.jsonl`, and counts in the step's metrics."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path


class Incidents:
    """The run's record of deaths and retries."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder
        self.path = Path(folder, "incidents.jsonl") if folder is not None else None
        self._lock = threading.Lock()
        self._since: Counter[str] = Counter()

    def add(self, kind: str, who: str, doing: str, cost: str, **details: str | int) -> None:
        """Note one incident.

        Args:
            kind: "death", "restart", "retry", "drop", "frozen", "silent" or "late".
            who: the actor's name.
            doing: what it was doing.
            cost: what had to be done again, or was lost.
            details: whatever else tells what happened, such as node, pid, state and stack.
        """
        with self._lock:
            self._since[kind] += 1
            self._write(kind, who, doing, cost, details)

    def _write(
        self, kind: str, who: str, doing: str, cost: str, details: Mapping[str, str | int]
    ) -> None:
        if self.path is None:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "kind": kind,
            "who": who,
            "doing": doing,
            "cost": cost,
            **details,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def drain(self) -> dict[str, float]:
        """Counts since the last call, as metrics `incidents/<kind>`."""
        with self._lock:
            counts, self._since = self._since, Counter()
        return {f"incidents/{kind}": float(n) for kind, n in sorted(counts.items())}
