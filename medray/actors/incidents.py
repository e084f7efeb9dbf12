"""What went wrong and was dealt with: one line each in `incidents.jsonl`, and counts in the step's metrics."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path


class Incidents:
    """The run's record of deaths and retries."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.path = Path(folder, "incidents.jsonl") if folder is not None else None
        self._since: Counter[str] = Counter()

    def add(self, kind: str, who: str, doing: str, cost: str) -> None:
        """Note one incident.

        Args:
            kind: "death", "restart", "retry" or "drop".
            who: the actor's name.
            doing: what it was doing.
            cost: what had to be done again, or was lost.
        """
        self._since[kind] += 1
        if self.path is None:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "kind": kind,
            "who": who,
            "doing": doing,
            "cost": cost,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def drain(self) -> dict[str, float]:
        """Counts since the last call, as metrics `incidents/<kind>`."""
        counts, self._since = self._since, Counter()
        return {f"incidents/{kind}": float(n) for kind, n in sorted(counts.items())}
