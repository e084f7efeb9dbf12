"""Which language a row is in, and which rows say the same thing."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any

from medray.data.jsonl import optional_text
from medray.data.source import RowError

LANGUAGES = ("en", "zh")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")


def language_of(row: dict[str, Any], text: str) -> str:
    """The row's `lang` when it has one, else "zh" for text with a Chinese character, else "en"."""
    stated = optional_text(row, "lang")
    if stated is None:
        return "zh" if _HAN.search(text) else "en"
    if stated not in LANGUAGES:
        raise RowError("unknown language", f"'lang' is {stated!r}; write en or zh, or leave it out")
    return stated


def text_group(*texts: str) -> str:
    """A short key that is equal for texts that differ in case, width, blanks or punctuation."""
    kept = "\0".join(
        "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum()) or text
        for text in texts
    )
    return hashlib.sha256(kept.encode()).hexdigest()[:16]
