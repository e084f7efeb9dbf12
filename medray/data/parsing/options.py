"""Options of a multiple-choice item in the forms people keep them, and which of them are right."""

from __future__ import annotations

import re
from typing import Any

from medray.data.parsing.dialogue import parsed_text
from medray.data.parsing.fields import Fields, kind_of, require
from medray.data.parsing.roles import by_role, is_blank, normal, option_columns
from medray.data.source import RowError

_LINE = re.compile(
    r"(?:^|\n|\s)\(?([A-Z])[.)．、:：]\s*(.+?)(?=(?:\n|\s)\(?[A-Z][.)．、:：]\s|\s*$)", re.DOTALL
)
_OWN_LETTER = re.compile(r"\(?([A-Z])[.)．、:：]\s+(?=\S)")
_KEYS = ("aid", "key", "label", "id", "letter", "index", "option")
_TEXTS = ("atext", "value", "text", "content", "answer", "option")


def find_options(row: Fields) -> tuple[list[str], list[Any]]:
    """The keys and texts of a row's options, from one column or from columns of their own.

    A list (keys count from "0"), an object by letter, `{"label": [...], "text": [...]}`, a list of objects with a key
    and a text, lines `A. ...`, or columns `A`, `B`, ..., `option_a`, `choice1`, `ending0`. Blank columns at the end are
    left out.

    Raises:
        RowError: there are none, or they cannot be read.
    """
    name = option_column(row)
    if name is None:
        columns = option_columns(row)
        if not columns:
            require(row, "options")
            raise RowError("empty value", "'options' is empty; fill it in or remove the row")
        found = list(columns), [row[column] for column in columns.values()]
    else:
        found = _from_value(parsed_text(row[name]), name)
    keys, texts = found
    while (
        name is None and texts and is_blank(texts[-1])
    ):  # a table has columns for the longest item
        keys, texts = keys[:-1], texts[:-1]
    return keys, _without_letters(texts)


def option_column(row: Fields) -> str | None:
    """The one column that holds all options; None for none."""
    roles = by_role(row)
    if "options" in roles:
        return roles["options"][0]
    is_keyed = (
        "answers" in roles and "key" in roles
    )  # HEAD-QA: `ra` is the `aid` of one of `answers`
    return roles["answers"][0] if is_keyed else None


def _from_value(value: Any, name: str) -> tuple[list[str], list[Any]]:
    if isinstance(value, str):
        found = _LINE.findall(value)
        if len(found) > 1:
            return [letter for letter, _ in found], [text.strip() for _, text in found]
    if isinstance(value, dict):
        lists = {normal(key): item for key, item in value.items() if isinstance(item, list)}
        if "text" in lists and ("label" in lists or "key" in lists):
            return [str(key) for key in lists.get("label", lists.get("key", []))], lists["text"]
        kept = {str(key): text for key, text in value.items() if not is_blank(text)}
        return [key.upper() for key in sorted(kept)], [kept[key] for key in sorted(kept)]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _from_objects(value, name)
    if isinstance(value, list):
        return [str(i) for i in range(len(value))], value
    raise RowError(
        "wrong type",
        f"{name!r} must be a list of texts or an object lettered A, B, ..., not {kind_of(value)}",
    )


def _from_objects(items: list[dict[str, Any]], name: str) -> tuple[list[str], list[Any]]:
    keys: list[str] = []
    texts: list[Any] = []
    for i, item in enumerate(items):
        names = {normal(key): key for key in item}
        key = next((names[k] for k in _KEYS if k in names), None)
        text = next((names[t] for t in _TEXTS if t in names and names[t] != key), None)
        if text is None:
            raise RowError(
                "bad options",
                f"'{name}[{i}]' has no text; write texts, or objects with key and value",
            )
        keys.append(str(item[key]) if key is not None else str(i))
        texts.append(item[text])
    return keys, texts


def _without_letters(texts: list[Any]) -> list[Any]:
    """The texts without "A. ", "B. " ... before them, where each has its own."""
    found = [_OWN_LETTER.match(text) if isinstance(text, str) else None for text in texts]
    letters = "".join(match[1] for match in found if match)
    if len(texts) < 2 or letters != "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(texts)]:
        return texts
    return [text[match.end() :] for text, match in zip(texts, found, strict=True) if match]
