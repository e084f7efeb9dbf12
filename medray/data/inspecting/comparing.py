"""Two datasets compared by what their rows say: in both, changed, only in one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from medray.data.parsing.grouping import exchanges
from medray.data.parsing.language import text_group
from medray.data.parsing.turns import user_text
from medray.data.schemas.canonical import record_to_row
from medray.types import Record

_APART = {"id", "source", "group_id"}
"""Fields that say where a row stands, and not what it says."""


@dataclass
class _Side:
    """What is kept of one dataset: keys, never texts."""

    places: dict[bytes, list[str]] = field(default_factory=dict[bytes, list[str]])  # by content
    prompts: dict[bytes, list[bytes]] = field(default_factory=dict[bytes, list[bytes]])
    turns: set[bytes] = field(default_factory=set[bytes])
    num_rows: int = 0

    def add(self, where: str, record: Record) -> None:
        self.num_rows += 1
        content = content_key(record)
        self.places.setdefault(content, []).append(where)
        prompt = bytes.fromhex(text_group(*(user_text(record.messages) or (record.text,))))
        self.prompts.setdefault(prompt, []).append(content)
        self.turns.update(exchanges(record))


@dataclass(frozen=True)
class Difference:
    """What two datasets have in common, in rows; places are those of the first few rows."""

    num_rows: tuple[int, int]
    same: int
    changed: tuple[tuple[str, str], ...]
    """Rows in which the user says the same and the rest differs: where they stand in each."""
    only: tuple[tuple[str, ...], tuple[str, ...]]
    """Where rows stand whose questions the other dataset does not have."""
    shared_turns: int

    def as_dict(self) -> dict[str, object]:
        """The counts, as JSON values."""
        return {
            "rows": list(self.num_rows),
            "same": self.same,
            "changed": len(self.changed),
            "only_in_first": len(self.only[0]),
            "only_in_second": len(self.only[1]),
            "shared_turns": self.shared_turns,
        }


def compare(
    first: Iterable[tuple[str, Record]], second: Iterable[tuple[str, Record]]
) -> Difference:
    """Compare two streams of (place, record); each is read once, and only keys of texts are kept."""
    sides = (_Side(), _Side())
    for side, rows in zip(sides, (first, second), strict=True):
        for where, record in rows:
            side.add(where, record)
    counts = [Counter({key: len(at) for key, at in side.places.items()}) for side in sides]
    same = counts[0] & counts[1]
    left = [_left(side, same) for side in sides]
    changed: list[tuple[str, str]] = []
    only: tuple[list[str], list[str]] = ([], [])
    for prompt in {**left[0], **left[1]}:
        ours, theirs = (side.get(prompt, []) for side in left)
        changed += zip(ours, theirs, strict=False)
        num_pairs = min(len(ours), len(theirs))
        only[0].extend(ours[num_pairs:])
        only[1].extend(theirs[num_pairs:])
    return Difference(
        (sides[0].num_rows, sides[1].num_rows),
        same.total(),
        tuple(changed),
        (tuple(only[0]), tuple(only[1])),
        len(sides[0].turns & sides[1].turns),
    )


def content_key(record: Record) -> bytes:
    """A key of all that a row says, whatever its id, its file and its group are."""
    row = record_to_row(replace(record, id="-"))
    kept = {name: value for name, value in row.items() if name not in _APART}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).digest()[:12]


def _left(side: _Side, same: Counter[bytes]) -> dict[bytes, list[str]]:
    """Places of the rows that are not in both, by what the user says."""
    matched = Counter[bytes](same)
    found: dict[bytes, list[str]] = {}
    taken = Counter[bytes]()
    for prompt, contents in side.prompts.items():
        for content in contents:
            place = side.places[content][taken[content]]
            taken[content] += 1
            if matched[content] > 0:
                matched[content] -= 1
            else:
                found.setdefault(prompt, []).append(place)
    return found
