"""What people say, by concept, in English and Chinese: tables of phrases, read once.

A phrase is in its normalised form. `{a|b}` stands for one of several, an empty one included; a star at the end of a
phrase leaves the end of an English word open.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources

TABLES = ("body", "symptoms", "events", "crisis", "context", "scope")
_WORD = re.compile(r"[a-z]+")


@cache
def phrases() -> dict[str, tuple[str, ...]]:
    """Load all lexicon tables: phrases by concept, with their spelling variants expanded."""
    found: dict[str, list[str]] = {}
    for table in TABLES:
        text = (resources.files(__name__) / f"{table}.toml").read_text(encoding="utf-8")
        for concept, given in tomllib.loads(text).items():
            listed = re.split(r"[\n;]", given)
            found.setdefault(concept, []).extend(
                phrase for line in listed if line.strip() for phrase in expanded(line.strip())
            )
    return {concept: tuple(dict.fromkeys(given)) for concept, given in found.items()}


def expanded(phrase: str) -> list[str]:
    """The phrases that `phrase` with its groups stands for; groups may stand in groups."""
    found, _ = _alternatives(phrase + "}", 0)
    return [re.sub(" +", " ", each).strip() for each in found]


def _alternatives(text: str, at: int) -> tuple[list[str], int]:
    """What a group that began before `at` stands for, and where it ends."""
    found: list[str] = []
    current = [""]
    while True:
        char, at = text[at], at + 1
        if char == "{":
            inner, at = _alternatives(text, at)
            current = [before + each for before in current for each in inner]
        elif char in "|}":
            found += current
            current = [""]
            if char == "}":
                return found, at
        else:
            current = [before + char for before in current]


@cache
def words() -> frozenset[str]:
    """English words of all phrases."""
    return frozenset(
        word
        for given in phrases().values()
        for phrase in given
        if not phrase.endswith("*")
        for word in _WORD.findall(phrase)
    )
