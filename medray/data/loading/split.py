"""Which side of the split a group is on: decided by its name and the seed alone, never by the order of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from medray.types import Record


def group_of(record: Record) -> str:
    """The group of a record; a record without one is a group by itself."""
    return record.group_id or record.id


def rank(group: str, seed: int) -> bytes:
    """Where `group` stands in the order that `seed` draws."""
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()


def is_held_out(group: str, seed: int, fraction: float) -> bool:
    """True for about `fraction` of all groups, those at the front of the seed's order."""
    return int.from_bytes(rank(group, seed)[:7], "big") < fraction * 2**56


def choose_held_out(sizes: Mapping[str, int], seed: int, num_rows: int) -> frozenset[str]:
    """Whole groups from the front of the seed's order until they hold `num_rows` rows.

    Args:
        sizes: rows of each group.
        seed: draws the order of the groups.
        num_rows: rows wanted; the last group taken may bring more.
    """
    chosen: set[str] = set()
    missing = num_rows
    for group in sorted(sizes, key=lambda name: rank(name, seed)):
        if missing <= 0:
            break
        chosen.add(group)
        missing -= sizes[group]
    return frozenset(chosen)
