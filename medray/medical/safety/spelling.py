"""Spelling: a word that English does not know becomes the word of the lexicon that it was meant to be."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources

from symspellpy import SymSpell, Verbosity

from medray.medical.safety.lexicon import words

_TOKEN = re.compile(
    r"(?<![a-z0-9@$*!])(?:[a-z@$][a-z0-9@$*!]{3,19}|[a-z]\d[a-z]|\d[a-z]\d?[a-z]+)(?![a-z0-9@$*])"
)
TWO_EDITS_FROM = 7
"""Letters from which two edits are corrected; below, one."""
MIN_PART = 3
_LEET = str.maketrans("013457@$!", "oieastasi")


def corrected(text: str) -> str:
    """`text`, in lower case, with misspelt key words as they are written."""
    return _TOKEN.sub(lambda match: _word(match.group()), text)


def known(word: str) -> bool:
    """True for an English word, also one without its apostrophe."""
    return word in _english()


@lru_cache(maxsize=1 << 16)
def _word(token: str) -> str:
    token = token.rstrip("!")
    if token in _english() or token in words():
        return token
    plain = token.translate(_LEET)
    if plain != token and (plain in words() or plain in _english()):
        return plain
    edits = 2 if len(token) >= TWO_EDITS_FROM else 1
    found = _index().lookup(token, Verbosity.TOP, max_edit_distance=edits)
    if found:
        return str(found[0].term)
    for at in range(MIN_PART, len(token) - MIN_PART + 1):  # "chestpain"
        first, second = token[:at], token[at:]
        if second in words() and (first in words() or first in _english()):
            return f"{first} {second}"
    return token


@cache
def _index() -> SymSpell:
    index = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
    for word in sorted(words()):
        if len(word) > MIN_PART:
            index.create_dictionary_entry(word, 1)
    return index


@cache
def _english() -> frozenset[str]:
    table = resources.files("symspellpy") / "frequency_dictionary_en_82_765.txt"
    listed = (line.split(" ", 1)[0] for line in table.read_text(encoding="utf-8").splitlines())
    return frozenset(word.lstrip("\ufeff").replace("'", "") for word in listed)
