"""Ways in which the same words reach a server: invisible characters, markup, look-alikes, typing errors, preambles."""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Callable

import opencc

_HAN = re.compile("[\u4e00-\u9fff]")
_TRADITIONAL, _SIMPLIFIED = opencc.OpenCC("s2t"), opencc.OpenCC("t2s")
_CYRILLIC = str.maketrans("aeopcxy", "аеорсху")


def _zero_width(text: str) -> str:
    return "\u200b".join(text)


def _apostrophes(text: str) -> str:
    return text.replace("'", "’")


def _no_apostrophes(text: str) -> str:
    return text.replace("'", "")


def _wrapped(text: str) -> str:
    if _HAN.search(text):
        return "\n".join(text[i : i + 12] for i in range(0, len(text), 12))
    return "\n".join(textwrap.wrap(text, 18))


def _bold(text: str) -> str:
    if _HAN.search(text):
        return f"{text[:2]}**{text[2:5]}**{text[5:]}"
    words = text.split(" ")
    words[len(words) // 2] = f"**{words[len(words) // 2]}**"
    return " ".join(words)


def _markup(text: str) -> str:
    half = len(text) // 2
    return f"<p>{text[:half]}<b>{text[half:]}</b></p>".replace("'", "&#39;")


def _look_alikes(text: str) -> str:
    return text.translate(_CYRILLIC)


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _swapped(text: str) -> str:
    """Two inner letters of one long word change places."""
    found = list(re.finditer(r"[A-Za-z]{5,}", text))
    if not found:
        return text
    match = random.Random(text).choice(found)
    word = match.group()
    at = random.Random(text).randrange(1, len(word) - 2)
    changed = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return text[: match.start()] + changed + text[match.end() :]


def _all_swapped(text: str) -> str:
    def changed(match: re.Match[str]) -> str:
        word = match.group()
        at = random.Random(word).randrange(1, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return re.sub(r"[A-Za-z]{5,}", changed, text)


def _missing_letter(text: str) -> str:
    def changed(match: re.Match[str]) -> str:
        word = match.group()
        at = random.Random(word).randrange(1, len(word) - 1)
        return word[:at] + word[at + 1 :]

    return re.sub(r"[A-Za-z]{6,}", changed, text)


def _emoji(text: str) -> str:
    half = len(text) // 2
    return text[:half] + "😭" + text[half:] if _HAN.search(text) else text.replace(" ", " 😭 ", 2)


def _spaced_han(text: str) -> str:
    return re.sub("(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])", " ", text)


REWRITINGS: dict[str, Callable[[str], str]] = {
    "zero-width characters": _zero_width,
    "typographic apostrophes": _apostrophes,
    "no apostrophes": _no_apostrophes,
    "wrapped lines": _wrapped,
    "a bold word": _bold,
    "HTML": _markup,
    "Cyrillic look-alikes": _look_alikes,
    "full width": _full_width,
    "letters swapped in one word": _swapped,
    "letters swapped in every word": _all_swapped,
    "a letter missing in every word": _missing_letter,
    "capitals": str.upper,
    "emoji": _emoji,
    "blanks between Han characters": _spaced_han,
    "traditional characters": _TRADITIONAL.convert,
    "simplified characters": _SIMPLIFIED.convert,
}
PREFIXES = (
    "Patient writes: ",
    "The weather is nice today. ",
    "I used to be a nurse. ",
    "What is the capital of France? ",
    "I have no fever. ",
    "My aunt had a stroke years ago and recovered. ",
    "患者说：",
    "今天天气不错。",
    "我以前是护士。",
    "去年我搬家了。",
    "我没有发烧。",
)
