"""What became of every row of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from medray.data.source import BadRow

MAX_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows dropped for one reason, with the first few of them as `file:line: what is wrong`."""

    count: int
    examples: tuple[str, ...]


class Drop(Protocol):
    """Rows dropped for one reason, here or in a manifest."""

    @property
    def count(self) -> int: ...
    @property
    def examples(self) -> tuple[str, ...]: ...


def drops_text(dropped: Mapping[str, Drop]) -> list[str]:
    """How many rows were dropped for each reason, with an example, in words."""
    return [
        f"dropped {drop.count:,} ({reason}, e.g. {drop.examples[0]})"
        for reason, drop in dropped.items()
    ]


def thoughts_text(num_lost: int, num_unclosed: int) -> list[str]:
    """How many thoughts of earlier turns, and turns with an unclosed thought, are not trained, in words."""
    found: list[str] = []
    if num_lost:
        found.append(f"{num_lost:,} thoughts of earlier turns left out by the template")
    if num_unclosed:
        found.append(f"{num_unclosed:,} turns with an unclosed thought not trained")
    return found


class DropCounter:
    """Bad rows counted by reason, with the first few of each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, row: BadRow) -> None:
        """Count a dropped row under its reason; keeps the first few as examples."""
        self._counts[row.reason] = self._counts.get(row.reason, 0) + 1
        examples = self._examples.setdefault(row.reason, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(str(row))

    @property
    def num_rows(self) -> int:
        """Number of rows dropped so far, over all reasons."""
        return sum(self._counts.values())

    def by_reason(self) -> dict[str, Dropped]:
        """Counts and examples so far, by reason."""
        return {
            reason: Dropped(count, tuple(self._examples[reason]))
            for reason, count in self._counts.items()
        }


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of every row.

    num_read - num_dropped + num_repeated = num_train + num_held_out + num_unused.
    """

    source: str
    digests: Mapping[str, str]  # file or generator -> sha256
    num_read: int
    num_train: int
    num_held_out: int
    num_unused: (
        int  # good rows beyond data.num_train and data.num_eval, or left out by a weight below 1
    )
    dropped: Mapping[str, Dropped] = field(default_factory=dict)  # by reason
    notes: tuple[str, ...] = ()  # how the data were read
    num_repeated: int = 0  # copies beyond the first, of sources with a weight above 1

    @property
    def num_dropped(self) -> int:
        """Rows that could not be used."""
        return sum(d.count for d in self.dropped.values())

    @property
    def sha256(self) -> str:
        """The file's own digest, or one over all digests when several files were read."""
        if len(self.digests) == 1:
            return next(iter(self.digests.values()))
        listing = "\n".join(f"{name} {digest}" for name, digest in sorted(self.digests.items()))
        return hashlib.sha256(listing.encode()).hexdigest()

    @property
    def content_sha256(self) -> str:
        """One digest over the contents alone, whatever the files are called."""
        return hashlib.sha256("\n".join(sorted(self.digests.values())).encode()).hexdigest()

    def provenance(self) -> dict[str, Any]:
        """Where the rows come from and what became of them, as JSON values."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "content": self.content_sha256,
            "read": self.num_read,
            "train": self.num_train,
            "held_out": self.num_held_out,
            "unused": self.num_unused,
            "dropped": {reason: drop.count for reason, drop in self.dropped.items()},
        }

    def summary(self) -> str:
        """Format the counts on one line for the terminal."""
        drops = "".join(f"; {text}" for text in drops_text(self.dropped))
        notes = "".join(f"; {note}" for note in self.notes)
        repeated = f", {self.num_repeated} repeated" if self.num_repeated else ""
        return (
            f"{self.source}: {self.num_read} rows, {self.num_train} train,"
            f" {self.num_held_out} held out, {self.num_unused} unused{repeated}{drops}{notes}"
        )
