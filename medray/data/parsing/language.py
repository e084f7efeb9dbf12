"""Which language a row is in, and which rows say the same thing."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from medray.data.parsing.fields import Fields, optional_text
from medray.data.source import RowError

LANGUAGES = ("en", "zh")
"""Languages that prompts made by a schema are written in."""
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_SCRIPTS = {
    "zh": _HAN,
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "hi": re.compile(r"[\u0900-\u097f]"),
    "en": re.compile(r"[A-Za-z]"),
}
_WEIGHTS = {"zh": 3, "ja": 6, "en": 0.7}
"""A Chinese character says as much as several letters; kana stand among them; and terms and names are in Latin."""
_NUM_CHARS = 2000
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


def language_of(row: Fields, text: str) -> str:
    """The row's `lang` when it has one, else `prompt_language` of the text."""
    stated = optional_text(row, "lang")
    if stated is None:
        return prompt_language(text)
    if stated not in LANGUAGES:
        raise RowError(
            "unknown language", f"'lang' is {stated!r}; write en or zh, or remove the field"
        )
    return stated


def prompt_language(text: str) -> str:
    """The one of `LANGUAGES` to ask in: "zh" for text with a Chinese character, else "en"."""
    return "zh" if _HAN.search(text) else "en"


def guess_language(*texts: str) -> str:
    """The language that most of the text is written in, by its script; "en" for all Latin text."""
    text = " ".join(texts)[:_NUM_CHARS]
    if text.isascii():
        return "en"
    counts = {
        name: len(pattern.findall(text)) * _WEIGHTS.get(name, 1.0)
        for name, pattern in _SCRIPTS.items()
    }
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] > 0 else "en"


def text_group(*texts: str) -> str:
    """A short key that is equal for texts that differ in case, width, blanks or punctuation."""
    kept = "\0".join(
        _NOT_ALPHANUMERIC.sub("", unicodedata.normalize("NFKC", text).casefold()) or text
        for text in texts
    )
    return hashlib.sha256(kept.encode()).hexdigest()[:16]
