"""Rows as they were before a table padded them."""

from __future__ import annotations

from typing import Any


def without_nulls(value: Any) -> Any:
    """`value` without the null fields of its objects, at any depth.

    Arrow gives every object of a column the fields of all others: a tool's `{"city": "Paris"}` next to
    `{"drug": "X"}` is stored as `{"city": "Paris", "drug": null}`. Nulls in lists stay: they hold a place.
    """
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
