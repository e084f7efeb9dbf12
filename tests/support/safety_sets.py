"""The kept sentences of the safety rules, in their parts, and what the rules make of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from medray.medical.safety.red_flags import find_red_flags

FOLDER = Path(__file__).parents[1] / "medical" / "safety"
PARTS = ("development", "held out", "fresh")
SCRIPTS = ("en", "zh-Hans", "zh-Hant")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One row of a set."""

    text: str
    category: str
    script: str
    register: str
    half: str

    @property
    def flagged(self) -> bool:
        """The rules find a red flag."""
        return bool(find_red_flags(self.text))


def sentences(name: str) -> list[Sentence]:
    """The rows of `name`.jsonl."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [Sentence(**json.loads(line)) for line in lines]


EMERGENCIES = sentences("emergencies")
NEAR_MISSES = sentences("near_misses")


def wilson(found: int, count: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson, 1927)."""
    z, share = 1.959964, found / count
    center = share + z * z / (2 * count)
    spread = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return (center - spread) / (1 + z * z / count), (center + spread) / (1 + z * z / count)


def cell(rows: Iterable[Sentence]) -> str:
    """How many of `rows` are flagged, as the documents write it."""
    flags = [row.flagged for row in rows]
    low, high = wilson(sum(flags), len(flags))
    return f"{sum(flags)}/{len(flags)} ({low:.2f}-{high:.2f})"


def table(rows: list[Sentence], key: Callable[[Sentence], str], heading: str) -> list[str]:
    """A Markdown table, a column for each part of the set, a line for each value of `key`."""
    lines = [f"| {heading} | " + " | ".join(PARTS) + " |", "| --- " * (1 + len(PARTS)) + "|"]
    for value in dict.fromkeys(key(row) for row in rows):
        parts = [[row for row in rows if key(row) == value and row.half == part] for part in PARTS]
        lines.append(f"| {value} | " + " | ".join(cell(p) if p else "-" for p in parts) + " |")
    return lines


def documented() -> str:
    """The tables of docs/SAFETY.md."""
    blocks = [
        ["Emergencies found, by register and script:", ""],
        table(EMERGENCIES, lambda row: f"{row.register}, {row.script}", "register, script"),
        ["", "False alarms on near misses, by script (lower is better):", ""],
        table(NEAR_MISSES, lambda row: row.script, "script"),
        ["", "Emergencies found, by category:", ""],
        table(EMERGENCIES, lambda row: row.category, "category"),
        ["", "False alarms on near misses, by kind:", ""],
        table(NEAR_MISSES, lambda row: row.category, "kind"),
    ]
    return "\n".join(line for block in blocks for line in block)


if __name__ == "__main__":
    print(documented())
