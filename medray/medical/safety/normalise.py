"""One form for texts that a person reads as the same: scripts, markup, invisible and look-alike characters, spelling.

The result is lower case, without apostrophes ("dont"), with simplified Han characters and without blanks between them.
Every step is linear in the length of the text.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import accumulate

from medray.medical.safety.spelling import corrected

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
SOFT = "\x1f"
"""Where a line or a run of Han characters ended: phrases go on across it, denials do not."""

_INLINE_TAG = re.compile(
    r"</?(?:b|i|u|em|strong|span|a|mark|font|sub|sup|wbr|small|big|s|code)\b[^<>]{0,200}>",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<!--[^<>]{0,200}-->")
_LINK = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,300}\)")
_MARKS = re.compile(r"\*\*|__|~~|`|(?<!\w)[*_]+(?=\w)|(?<=\w)[*_]+(?!\w)|\\(?=[*_#`~])")
_BULLET = re.compile(r"\n[ \t]*(?:[-+•●▪◦>#]+|\*+|\d{1,2}[.)])[ \t]+")
_PARAGRAPH = re.compile(r"[ \t]*\n[ \t\n]*\n[ \t\n]*")
_LINE = re.compile(r"[ \t]*\n[ \t]*")
_HAN_RUNS = re.compile(rf"(?<=[{HAN}{HAN}])[ {SOFT}]+(?=[{HAN}])")
_HAN_SYMBOL = re.compile(rf"(?<=[{HAN}])[ ]?[.*_~·|/\\+^=-][ ]?(?=[{HAN}])")
_QUOTES = re.compile('["“”「」『』《》()（）\\[\\]{}]+')
_APOSTROPHES = re.compile("['’‘ʼʻʹ′´＇‛ˈ`]+")
_SPLIT_NOT = re.compile(
    r"\b(don|can|won|isn|doesn|didn|aren|wasn|weren|haven|hasn|hadn|couldn|wouldn|shouldn|ain)[ ;,*-]t\b"
)
_NOT = re.compile(r"\b(do|does|did|is|are|was|were|has|have|had|could|would|should) not\b")
_REPEATED = re.compile(r"([a-z])\1{2,}")
_SPACED = re.compile(r"(?<![a-z0-9])[a-z](?:[ .\-_*][a-z]){3,}(?![a-z0-9])")
_SHORT = {
    "gonna": "going to",
    "gona": "going to",
    "wanna": "want to",
    "gotta": "got to",
    "cannot": "cant",
    "can not": "cant",
    "will not": "wont",
    "tonite": "tonight",
    "u": "you",
    "ur": "your",
    "w": "with",
    "n": "and",
    "tho": "though",
    "cuz": "because",
    "bc": "because",
    "cos": "because",
    "coz": "because",
    "thru": "through",
    "abt": "about",
    "rn": "right now",
    "mins": "minutes",
    "hrs": "hours",
    "yrs": "years",
    "secs": "seconds",
    "hr": "hour",
    "wks": "weeks",
    "wk": "week",
    "mum": "mom",
    "mums": "moms",
    "mommy": "mom",
    "mummy": "mom",
    "hubby": "husband",
    "temp": "temperature",
    "preg": "pregnant",
    "breath in": "breathe in",
    "alot": "a lot",
    "im not able": "unable",
    "didnt able": "unable",
    "not able": "unable",
    "nausious": "nauseous",
    "throwed": "threw",
    "couldnt": "cant",
    "no longer": "nolonger",
}
_SHORTENED = re.compile(r"\b(?:" + "|".join(sorted(_SHORT, key=len, reverse=True)) + r")\b")
_UNITS = re.compile(
    r"(?<![a-z\d])(\d{1,4})(weeks?|wks?|w|months?|mths?|mo|days?|years?|yrs?|yo|hours?|hrs?|mins?|minutes?|secs?|pills?|tablets?)\b"
)
_BLANKS = re.compile(r"[ \t\r\f\v]+")


@dataclass(frozen=True, slots=True)
class Text:
    """A normalized text, and where its soft breaks were."""

    flat: str
    breaks: tuple[int, ...]
    """Positions in `flat` of soft breaks, ascending."""


def normalise(text: str) -> Text:
    """`text` in its one form, with the places where lines ended."""
    text = _without_markup(text).translate(_characters())
    text = unicodedata.normalize("NFC", text)
    text = _HAN_SYMBOL.sub("", _APOSTROPHES.sub("", _QUOTES.sub(" ", text)))
    text = _PARAGRAPH.sub("\n\n", _BULLET.sub(f" {SOFT}", "\n" + text)[1:] if text else "")
    text = text.replace("\n\n", "\x1e")
    text = _LINE.sub(f" {SOFT}", text).replace("\x1e", "\n")
    text = _BLANKS.sub(" ", text)
    if _HAN_ANY.search(text):
        text = _HAN_RUNS.sub(_join_han, text)
    text = _english(text)
    parts = text.split(SOFT)
    breaks = tuple(accumulate(len(part) for part in parts[:-1]))
    return Text("".join(parts), breaks)


_HAN_ANY = re.compile(rf"[{HAN}]")


def _without_markup(text: str) -> str:
    if "&" in text:
        text = html.unescape(text)
    text = unicodedata.normalize("NFKC", text)
    if "<" in text:
        text = _TAG.sub("\n", _INLINE_TAG.sub("", text))
    if "](" in text:
        text = _LINK.sub(r"\1", text)
    return text


def _join_han(match: re.Match[str]) -> str:
    """Nothing between single characters set apart; a soft break between runs, which blanks separate as commas do."""
    text, at, end = match.string, match.start(), match.end()
    alone_before = at < 2 or not _HAN_ANY.match(text[at - 2])
    alone_after = end + 1 >= len(text) or not _HAN_ANY.match(text[end + 1])
    return "" if alone_before or alone_after else SOFT


def _english(text: str) -> str:
    text = _MARKS.sub("", text)
    text = _REPEATED.sub(r"\1", text)
    text = _SPACED.sub(lambda m: re.sub(r"[^a-z]", "", m.group()), text)
    text = _UNITS.sub(r"\1 \2", text)
    text = _SPLIT_NOT.sub(r"\1t", text)
    text = corrected(text)
    text = _SHORTENED.sub(lambda m: _SHORT[m.group()], text)
    return _NOT.sub(r"\1nt", text)


class _Characters(dict[int, str]):
    """What each character becomes, worked out once per character."""

    def __init__(self, given: Iterable[tuple[int, str]]) -> None:
        super().__init__(given)

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if char in "\n\x1f":
            out = char if char == "\n" else " "
        elif category in ("Cf", "Mn", "Me", "Cs", "Co", "Cn"):
            out = ""
        elif category in ("So", "Sk", "Cc", "Zs", "Zl", "Zp") and char not in "`^":
            out = "\n" if category in ("Zl", "Zp") else " "
        elif category == "Lm" and not char.isalpha():
            out = ""
        else:
            bare = unicodedata.normalize("NFKD", char.casefold())
            out = "".join(c for c in bare if unicodedata.category(c) not in ("Mn", "Cf"))
            if len(out) == 1 and ord(out) != code:
                out = self[ord(out)]
        self[code] = out
        return out


@cache
def _characters() -> _Characters:
    table = {ord(a): b for a, b in (*_look_alikes(), *_simplified())}
    return _Characters(table.items())


def _simplified() -> Iterable[tuple[str, str]]:
    """Traditional to simplified, by OpenCC's table of characters; each keeps its place in the text."""
    table = resources.files("opencc") / "dictionary" / "TSCharacters.txt"
    for line in table.read_text(encoding="utf-8").splitlines():
        traditional, _, simplified = line.partition("\t")
        if len(traditional) == 1 and simplified:
            yield traditional, simplified.split(" ")[0][0]
    yield from (("麼", "么"), ("睪", "睾"), ("癥", "症"), ("妳", "你"), ("祂", "他"), ("牠", "它"))
    yield from (("裏", "里"), ("裡", "里"), ("痠", "酸"), ("佔", "占"), ("姊", "姐"), ("嚐", "尝"))
    yield from (("瞓", "睡"), ("喺", "在"), ("嘅", "的"), ("咗", "了"), ("佢", "他"), ("冇", "没"))
    yield from (("唔", "不"), ("係", "是"), ("嘢", "东西"), ("噉", "这样"), ("乜", "什么"))


def _look_alikes() -> Iterable[tuple[str, str]]:
    """Letters of other scripts that look like a Latin letter, by the Unicode Consortium's table."""
    table = resources.files("confusable_homoglyphs") / "confusables.json"
    for char, likes in json.loads(table.read_text(encoding="utf-8")).items():
        if len(char) != 1 or ord(char) < 128 or not char.isalpha():
            continue
        for like in likes:
            letter = like["c"].casefold()
            if len(letter) == 1 and "a" <= letter <= "z":
                yield char, letter
                folded = char.casefold()
                if len(folded) == 1 and ord(folded) > 127:
                    yield folded, letter
                break
