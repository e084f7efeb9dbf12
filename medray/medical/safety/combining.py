"""Signs made of concepts: which lie close together, which hold in one message.

The notation, used by `rules.py`:

    a.b      both in one sentence, close together, in any order
    a>b      the same, in this order
    -a       the function `a` is absent: denied, or somebody is unable to
    a|b      one of them
    a + b    both in the message, not far apart

A concept counts where nothing excludes it; `ALWAYS` and `STATED` name those that fewer exclusions reach.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from functools import cache
from typing import NamedTuple

from medray.medical.safety.scopes import Mark, Scopes

NEAR = 39
"""Units between the parts of `a.b`."""
TOGETHER = 480
"""Units between the parts of `a + b`."""

DENSE_CHARS = 6
"""Three places of one concept within this many characters say no more than two."""

Span = tuple[int, int]


class Atom(NamedTuple):
    """A concept, or the absence of a function."""

    name: str
    absent: bool


class Chain(NamedTuple):
    """Atoms close together; `ordered[i]` tells whether atom i+1 must come after atom i."""

    atoms: tuple[Atom, ...]
    ordered: tuple[bool, ...]


Term = tuple[Chain, ...]
Row = tuple[Term, ...]


@cache
def row(notation: str) -> Row:
    """The terms of a row, each a tuple of alternative chains."""
    return tuple(
        tuple(_chain(part) for part in term.strip().split("|")) for term in notation.split(" + ")
    )


def _chain(notation: str) -> Chain:
    names = re.split(r"[.>]", notation.strip())
    atoms = tuple(Atom(name.strip().lstrip("-"), name.strip().startswith("-")) for name in names)
    return Chain(atoms, tuple(sign == ">" for sign in re.findall(r"[.>]", notation)))


class Board:
    """The hits of one text that count, by concept; compositions are added as they are found."""

    def __init__(self, read: Scopes, *, always: frozenset[str], stated: frozenset[str]) -> None:
        self._read = read
        self._present: dict[str, list[Span]] = defaultdict(list)
        self._absent: dict[str, list[Span]] = defaultdict(list)
        self._composed: set[str] = set()
        everything = Mark.PAST | Mark.STUDY | Mark.GENERAL
        absence, denial = Mark.DENIED | Mark.UNABLE, Mark.DENIED | Mark.FINE
        for (start, end, concepts), mark in zip(read.scan.hits, read.marks, strict=True):
            is_excluded, is_absent, is_present = (
                mark & everything,
                mark & absence,
                not mark & denial,
            )
            for concept in concepts:
                if is_excluded and not _is_kept(mark, concept, always, stated):
                    continue
                if is_absent:
                    _append(self._absent[concept], start, end)
                if is_present:
                    _append(self._present[concept], start, end)

    def add(self, name: str, spans: list[Span]) -> None:
        """Let `name` stand for these places."""
        self._composed.add(name)
        if spans:
            self._present[name] = sorted({*self._present.get(name, ()), *spans})

    def term(self, alternatives: Term) -> list[Span]:
        """Where one of the alternatives holds."""
        if len(alternatives) == 1:
            return self._chain(alternatives[0])
        found: set[Span] = set()
        for chain in alternatives:
            found.update(self._chain(chain))
        return sorted(found)

    def holds(self, terms: Row) -> bool:
        """True where all terms hold not far from each other."""
        places: list[list[Span]] = []
        for term in terms:
            places.append(self.term(term))
            if not places[-1]:
                return False
        first, *others = places
        return any(all(self._near_any(span, other) for other in others) for span in first)

    def _near_any(self, span: Span, others: list[Span]) -> bool:
        at = bisect_left(others, span)
        between = self._read.scan.between
        return any(
            abs(between(*sorted((span[0], other[0])))) <= TOGETHER
            for other in others[max(0, at - 1) : at + 1]
        )

    def _places(self, atom: Atom) -> list[Span]:
        return (self._absent if atom.absent else self._present).get(atom.name, [])

    def _chain(self, chain: Chain) -> list[Span]:
        spans = self._places(chain.atoms[0])
        apart = chain.atoms[0].name not in self._composed
        for atom, ordered in zip(chain.atoms[1:], chain.ordered, strict=True):
            if not spans:
                return []
            apart = apart and atom.name not in self._composed
            spans = self._joined(spans, self._places(atom), ordered, apart=apart)
            apart = False  # what is joined may hold the next between its parts
        return spans

    def _joined(
        self, spans: list[Span], others: list[Span], ordered: bool, *, apart: bool
    ) -> list[Span]:
        """Each of `spans` with its nearest neighbours among `others`, both sorted; `apart`: two words, not one."""
        found: set[Span] = set()
        units, sentence = self._read.scan.units, self._read.sentence
        for span in spans:
            start, end = span
            at = bisect_right(others, span)
            nearest = others[at : at + 2] if ordered else others[max(0, at - 2) : at + 2]
            for other in nearest:
                other_start, other_end = other
                if apart and start < other_end and other_start < end:
                    continue
                if span <= other:
                    first, gap_start, gap_end = start, end, other_start
                else:
                    first, gap_start, gap_end = other_start, other_end, start
                if gap_end > gap_start and units[gap_end] - units[gap_start] > NEAR:
                    continue
                if sentence(start) == sentence(other_start):
                    found.add((first, end if end >= other_end else other_end))
        return sorted(found)


def _is_kept(mark: int, concept: str, always: frozenset[str], stated: frozenset[str]) -> bool:
    return concept in always or (concept in stated and not mark & (Mark.PAST | Mark.STUDY))


def _append(spans: list[Span], start: int, end: int) -> None:
    """Add a place, unless the last two are as good: a word said over and over must not cost more each time."""
    if len(spans) < 2 or start - spans[-2][0] > DENSE_CHARS or end > spans[-1][1] + DENSE_CHARS:
        spans.append((start, end))
