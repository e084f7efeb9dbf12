"""Matching phrases in a text fast: literals say where to look, one regular expression says what is there.

A sign holds where its expression matches and the clause does not deny it ("no chest pain", "没有胸痛").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

BEFORE_CHARS, AFTER_CHARS = 90, 110
"""Text around a literal that an expression may look at."""
_CLAUSE = re.compile(r"[.;!?\n。；！？]|,(?! (?:and|or|no)\b)|，|\bbut\b|但是?|不过")
_DENIED = re.compile(
    r"(?:\b(?:no|not|without|denies|denied|deny|never had|never|don't have|doesn't have|didn't have|isn't|aren't|"
    r"hasn't had|haven't had|free of|rules? out|ruled out|negative for)\b[\w\s'/,-]{0,40}"
    r"|(?:没有|没|無|无|未见|未|否认|差点|差一点|不是|并非|不伴|没出现|排除)[^,，、。；]{0,6})$"
)
_NOT_DENIED = re.compile(
    r"\b(?:not sure|don't know|not only|no longer|no idea|can't|cannot|couldn't|no relief|not getting better|"
    r"never felt|never had such|never had this)\b|没想到|没办法|没多久|没过多久|不知道|没法|无缘无故|不是很清楚"
)


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing a text may say. Every match of `pattern` contains one of the `literals`."""

    literals: tuple[str, ...]
    pattern: re.Pattern[str]
    deniable: bool = True

    def holds(self, text: str) -> bool:
        """True where the normalised `text` says it and does not deny it."""
        return any(
            not (self.deniable and denied(window, match.start()))
            for window in windows(text, self.literals)
            for match in self.pattern.finditer(window)
        )


def sign(literals: str, pattern: str, *, deniable: bool = True) -> Sign:
    """A sign from literals separated by `|` and a regular expression."""
    return Sign(tuple(literals.split("|")), re.compile(pattern), deniable)


def windows(text: str, literals: tuple[str, ...]) -> Iterator[str]:
    """Stretches of `text` around the literals, merged where they touch."""
    spans: list[tuple[int, int]] = []
    for literal in literals:
        at = text.find(literal)
        while at >= 0:
            spans.append((max(0, at - BEFORE_CHARS), at + len(literal) + AFTER_CHARS))
            at = text.find(literal, at + len(literal))
    start = end = 0
    for first, last in sorted(spans):
        if first > end:
            if end:
                yield text[start:end]
            start = first
        end = max(end, last)
    if end:
        yield text[start:end]


def denied(window: str, start: int) -> bool:
    """True where the clause before `start` denies what begins there."""
    before = window[max(0, start - 60) : start]
    ends = [match.end() for match in _CLAUSE.finditer(before)]
    clause = before[ends[-1] if ends else 0 :]
    return bool(_DENIED.search(clause)) and not _NOT_DENIED.search(clause)
