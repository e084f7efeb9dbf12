"""What to set for rows that no schema knows."""

from __future__ import annotations

from typing import Any

from medray.data.files.data_file import RawRow
from medray.data.source import RowError

_MANY_WORDS = 8
_EXAMPLE = '{question: "#1", answer: "#2"}'


def unknown_layout(row: RawRow) -> str:
    """What is wrong with a file that begins with `row`, and the setting that reads it."""
    assert not isinstance(row.fields, RowError)
    count = len(row.fields)
    if row.hides_names:
        return (
            f"the first line names none of the fields that are known, in {count} columns: if it is no header, set"
            f" data.columns={_EXAMPLE}; if it is one, set data.columns={{question: NAME, answer: NAME}} to two names"
        )
    keys = ", ".join(map(repr, row.fields)) or "none"
    return f"no schema knows rows with the fields {keys}: {_suggestion(row.fields)}"


def _suggestion(fields: dict[str, Any]) -> str:
    columns = _columns(fields)
    setting = ""
    if columns:
        listed = ", ".join(f"{field}: {name!r}" for field, name in columns.items())
        setting = f"set data.columns={{{listed}}} (if that is what they are), "
    return f"{setting}rename fields to those of a schema (`medray data list`), set data.kind, or name other files"


def _columns(fields: dict[str, Any]) -> dict[str, str]:
    """The mapping that would do: turns, else a question and its answer by their order, else a document."""
    for name, value in fields.items():
        if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
            return {"messages": name}
    texts = [
        name
        for name, value in fields.items()
        if isinstance(value, str) and not value.strip().isdigit()
    ]
    texts = [
        n for n in texts if n.lower() not in ("id", "source", "url", "date", "lang", "category")
    ] or texts
    if len(texts) >= 2:
        return {"question": texts[0], "answer": texts[1]}
    is_long = texts and len(str(fields[texts[0]])) > _MANY_WORDS
    return {"text": texts[0]} if is_long else {}
