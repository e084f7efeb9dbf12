"""JSON objects in which a key stands twice: which of the two is meant, nobody can say."""

from __future__ import annotations

from typing import Any

from medray.data.source import RowError


class RepeatedKey(Exception):
    """Raised by `unique_keys`; its argument is the key."""

    def as_row_error(self) -> RowError:
        """What is wrong with the row, for people."""
        return RowError(
            "repeated key", f"{self.args[0]!r} appears twice in one object; keep one of them"
        )


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values: a hook for `json`, which would keep the last of two values without a word.

    Raises:
        RepeatedKey: a key stands twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise RepeatedKey(next(k for k, _ in pairs if k in seen or seen.add(k))[:40])
    return found
