"""Checked access to the fields of a row: every refusal names the field and says what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from medray.data.source import RowError

Fields = Mapping[str, Any]


def require(row: Fields, key: str) -> Any:
    """`row[key]`; a `RowError` names the key and shows those the row has."""
    if key not in row:
        present = ", ".join(map(repr, row)) or "none"
        raise RowError("missing key", f"no {key!r}; add it or rename one (the row has {present})")
    return row[key]


def require_text(row: Fields, key: str) -> str:
    """`row[key]` as stripped, non-empty, encodable text."""
    return check_text(require(row, key), key)


def optional_text(row: Fields, key: str) -> str | None:
    """`row[key]` as text, a whole number taken as its digits; None when absent or null."""
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return check_text(value, key)


def text_or_blank(row: Fields, key: str) -> str:
    """`row[key]` as text; "" when it is absent, null or blank."""
    value = row.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return optional_text(row, key) or ""


def require_scalar(row: Fields, key: str) -> str:
    """`row[key]` as text, a whole number taken as its digits; it must be there."""
    require(row, key)
    text = optional_text(row, key)
    if text is None:
        raise RowError("empty value", f"{key!r} is null; fill it in or remove the row")
    return text


def require_list(row: Fields, key: str) -> Sequence[Any]:
    """`row[key]` as a list with something in it."""
    value = require(row, key)
    if not isinstance(value, list):
        raise RowError("wrong type", f"{key!r} is {kind_of(value)}; write a list")
    if not value:
        raise RowError("empty value", f"{key!r} is empty; fill it in or remove the row")
    return value


def check_text(value: Any, name: str) -> str:
    """`value`, stripped, when it is text that can be written as UTF-8 and is not blank."""
    stripped = check_encodable(value, name).strip()
    if not stripped:
        raise RowError("empty value", f"{name!r} is blank; fill it in or remove the row")
    return stripped


def check_encodable(value: Any, name: str) -> str:
    """`value` unchanged when it is text, blank or not, that can be written as UTF-8."""
    if not isinstance(value, str):
        raise RowError("wrong type", f"{name!r} is {kind_of(value)}; write text in quotes")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        if "\udc80" <= value[error.start] <= "\udcff":  # as the readers of text files leave them
            raise RowError(
                "invalid text",
                f"{name!r} contains bytes that are not text; re-save the file as UTF-8",
            ) from None
        raise RowError(
            "invalid Unicode", f"{name!r} contains half of a surrogate pair; re-export the text"
        ) from None
    return value


def finite_number(value: Any, name: str) -> float:
    """`value` as a number, also from text; NaN and infinity are refused."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise RowError("wrong type", f"{name!r} is {str(value)[:40]!r}; write a finite number")
    return number


def check_object(value: Any, name: str) -> dict[str, Any]:
    """`value` when it is an object with text keys, or JSON text of one."""
    value = from_json(value, name)
    if not isinstance(value, dict):
        raise RowError("wrong type", f"{name!r} is {kind_of(value)}; write an object")
    return value


def from_json(value: Any, name: str) -> Any:
    """What JSON text stands for; anything that is not text as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RowError("bad JSON", f"{name!r} is not JSON: {error}; correct it") from None


def kind_of(value: Any) -> str:
    """What a JSON value is, for people."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "text", bool: "true/false"}
    return names.get(type(value), "a number")
