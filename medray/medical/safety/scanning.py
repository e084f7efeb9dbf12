"""Where a normalised text names which concept: one pass of an automaton over all phrases of the lexicon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick

from medray.medical.safety.lexicon import phrases
from medray.medical.safety.normalise import Text
from medray.medical.safety.numbers import measured

HAN_UNITS = 3
"""A Han character is as long as three letters."""
CONSUMING = ("benign", "idiom", "not_denial")
"""Longer phrases of these take away what lies within them: "heart rate normal", "dying to know", "not sure"."""


class Hit(NamedTuple):
    """A phrase in a text, with the concepts it stands for."""

    start: int
    end: int
    concepts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """The hits of a text by their place, and distances in it."""

    text: Text
    hits: tuple[Hit, ...]
    units: Sequence[int] = field(repr=False)
    """Distance of each position from the start."""

    def between(self, first: int, second: int) -> int:
        """Units from the position `first` to `second`."""
        return self.units[second] - self.units[first]


def scan(text: Text) -> Scan:
    """All hits in `text`, without those that a longer, harmless phrase takes away."""
    flat = text.flat
    automaton, table = _automaton()
    found: list[Hit] = []
    taken: list[tuple[int, int]] = []
    for index, start, end in automaton.find_matches_as_indexes(flat, overlapping=True):
        concepts, first_bound, last_bound, consumes = table[index]
        if (first_bound and start and _is_word(flat[start - 1])) or (
            last_bound and end < len(flat) and _is_word(flat[end])
        ):
            continue
        found.append(Hit(start, end, concepts))
        if consumes:
            taken.append((start, end))
    found += [Hit(start, end, (concept,)) for start, end, concept in measured(flat)]
    found = _without_cut_denials(found)
    return Scan(text, tuple(sorted(_kept(found, taken))), _units(flat))


def _units(flat: str) -> Sequence[int]:
    if flat.isascii():
        return range(len(flat) + 1)
    return [0, *accumulate(HAN_UNITS if char >= "\u3400" else 1 for char in flat)]


def _kept(found: list[Hit], taken: list[tuple[int, int]]) -> list[Hit]:
    """`found` without what lies inside a taken stretch."""
    if not taken:
        return found
    stretch: dict[int, tuple[int, int]] = {}
    for start, end in sorted(taken, key=lambda span: span[1] - span[0]):
        stretch.update(dict.fromkeys(range(start, end), (start, end)))  # the longest is last
    kept: list[Hit] = []
    for hit in found:
        inside = stretch.get(hit.start)
        if inside is None or hit.end > inside[1] or hit[:2] == inside or _consumes(hit.concepts):
            kept.append(hit)
    return kept


@cache
def _consumes(concepts: tuple[str, ...]) -> bool:
    return any(concept in CONSUMING for concept in concepts)


def _without_cut_denials(found: list[Hit]) -> list[Hit]:
    """`found` without denials that end within another sign: "没有呼吸" where the text says "没有呼吸困难"."""
    denials = {hit.start: hit.end for hit in found if "deny" in hit.concepts}
    if not denials:
        return found
    longest: dict[int, int] = dict.fromkeys(denials.values(), 0)
    for start, end, _ in found:
        if end > longest.get(start, end):
            longest[start] = end
    kept: list[Hit] = []
    for hit in found:
        ends = denials.get(hit.start)
        if ends is None or hit.end <= ends or "deny" in hit.concepts or longest[ends] <= hit.end:
            kept.append(hit)
    return kept


def _is_word(char: str) -> bool:
    return "a" <= char <= "z" or "0" <= char <= "9"


@cache
def _automaton() -> tuple[AhoCorasick, list[tuple[tuple[str, ...], bool, bool, bool]]]:
    """The automaton and, by pattern: its concepts, where it needs word boundaries, whether it takes others away."""
    concepts: dict[str, list[str]] = {}
    for concept, given in phrases().items():
        for phrase in given:
            concepts.setdefault(phrase, []).append(concept)
    patterns = [phrase.rstrip("*") for phrase in concepts]
    table = [
        (tuple(names), _is_word(phrase[0]), _is_word(phrase[-1]), _consumes(tuple(names)))
        for phrase, names in concepts.items()
    ]
    return AhoCorasick(patterns), table
