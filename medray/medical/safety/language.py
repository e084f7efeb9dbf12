"""Which of the two languages a text is in."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LETTER = re.compile(r"[A-Za-z]")


def language_of(text: str) -> Language:
    """zh where Han characters say more than Latin words do (a word counts as about five letters)."""
    head = text[:2000]
    return "zh" if 4 * len(_HAN.findall(head)) > len(_LETTER.findall(head)) else "en"


def normalised(text: str) -> str:
    """One form for what means the same: width, case, apostrophes and blanks."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = text.replace("’", "'").replace("‘", "'").replace("`", "'")
    return re.sub(r"[ \t\r\f\v\u200b\u00ad]+", " ", text)
