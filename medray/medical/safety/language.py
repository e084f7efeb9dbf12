"""Which language a text is in, and whether the rules cover it."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from medray.medical.safety.spelling import known

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
HEAD_CHARS = 2000
"""Characters that a language is told by."""
MIN_WORDS = 4
"""Latin words below which a text is taken for English: "ok gracias" tells nothing."""
ENGLISH_SHARE = 0.7
"""Share of English words above which Latin letters are taken for English; English with many misspellings has more."""
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LETTER = re.compile(r"[A-Za-z]")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """the a an and or but if of to in on at for with from by is am are was were be been has have had do does did
        not no i im ive my me we our you your he she it they his her him their this that there what when how why who can
        cant cannot dont doesnt wont will would should could just so very too now then after before since because about
        up down out over again feel feels get got hes shes its all some any more""",
    )
)
_ONLY_ENGLISH = _COMMON - frozenset(
    re.findall(r"\w+", "a an or if of to in on at am was do i im me we no he it so is has es get")
)
"""Common words that other languages in Latin letters do not share."""


def language_of(text: str) -> Language:
    """zh where Han characters say more than Latin words do (a word counts as about five letters)."""
    head = text[:HEAD_CHARS]
    return "zh" if 4 * len(_HAN.findall(head)) > len(_LETTER.findall(head)) else "en"


def is_covered(text: str) -> bool:
    """False where most of `text` is neither English nor Chinese, so that the rules hear little of it."""
    head = unicodedata.normalize("NFKC", text[:HEAD_CHARS])
    han = latin = other = kana = 0
    for char in head:
        if not char.isalpha():
            continue
        if _HAN.match(char):
            han += 1
        elif char < "\u0250":
            latin += 1
        else:
            other += 1
            kana += "\u3040" <= char <= "\u30ff"
    if kana > 0.1 * (han + kana) and kana > 2:  # Japanese writes Han characters too
        return False
    if 2 * other > 2 * han + latin:
        return False
    words = [word.casefold() for word in _WORD.findall(head) if word[0] < "\u0250"]
    if 3 * han > latin or len(words) < MIN_WORDS:
        return True
    bare = [word.replace("'", "").replace("’", "") for word in words]
    english = sum(known(word) for word in bare) / len(bare)
    common = sum(word in _COMMON for word in bare) / len(bare)
    only_english = sum(word in _ONLY_ENGLISH for word in bare) / len(bare)
    return only_english >= 0.2 or (english >= ENGLISH_SHARE and (common >= 0.1 or english >= 0.9))
