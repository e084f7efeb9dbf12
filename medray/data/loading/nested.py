"""Rows whose fields stand inside one of them: `{"id": 1, "data": {"Question": ..., "Options": ...}}`."""

from __future__ import annotations

from typing import Any

from medray.data.parsing.roles import MEANING, by_role

_WRAPPERS = ("data", "row", "item", "sample", "record", "example", "json")


def unwrapped(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields inside a wrapper next to those around it; unchanged where the row says something itself."""
    inner = [n for n, value in fields.items() if isinstance(value, dict) and n.lower() in _WRAPPERS]
    if len(inner) != 1 or by_role(fields).keys() & MEANING.keys():
        return fields
    [name] = inner
    if not by_role(fields[name]).keys() & MEANING.keys():
        return fields
    around = {key: value for key, value in fields.items() if key != name}
    return {**around, **fields[name]}
