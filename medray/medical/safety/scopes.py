"""What a clause says of the things named in it: denied, told of the past, of somebody who is well again, or in general.

Every exclusion belongs to the clause or the sentence that holds its cue; no sentence excludes the next one, save that
an exam question is one vignette.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from medray.medical.safety.scanning import Scan


class Mark:
    """What is said of a hit, as bits of an int: an enumeration would take half of the guard's time."""

    DENIED = 1
    """It is not there: "no chest pain", "not breathing"."""
    UNABLE = 2
    """Somebody cannot: "can't breathe"; says nothing of symptoms."""
    FINE = 4
    """It is as it should be: "breathing is normal"; says nothing against functions."""
    PAST = 8
    GENERAL = 16
    """A question of knowledge, a topic, prevention, or somebody who is well again."""
    STUDY = 32
    """An exam, a novel, a translation: the clause is about words."""


REACH: dict[str, tuple[int, int]] = {"deny": (40, 24), "deny_next": (7, 0), "unable": (30, 14)}
"""Units from a cue to the first thing it speaks of, and from that to the next."""
MARK_OF = {"deny": Mark.DENIED, "deny_next": Mark.DENIED, "unable": Mark.UNABLE}
AFTER: dict[str, tuple[int, int]] = {"ceased": (24, Mark.DENIED), "fine": (27, Mark.FINE)}
"""Cues that follow what they speak of."""
SCOPE_CONCEPTS = frozenset(
    {*MARK_OF, *AFTER, "past", "now", "study", "exam", "topic", "prevention", "recovered"}
    | {
        "first_person",
        "personal",
        "not_denial",
        "benign",
        "idiom",
        "past_next",
        "in_care",
        "study_sure",
    }
)

_SENTENCE = re.compile(r"[!?\n。！？]+|\.+(?!\d)")
_CLAUSE = re.compile(
    r"[;；，:：…]|,(?!\d{3})| [-–—]+ |\b(?=(?:but|however|although|except|then|now|today|tonight|suddenly|since|"
    r"this morning|right now|because)\b)|"
    r"\band (?=(?:i|im|ive|my|he|hes|his|she|shes|her|we|they|the|now|today|cant)\b)|"
    r"(?=但|不过|可是|然后|现在|今天|今早|突然|刚才|刚刚|这会|结果)"
)
_QUESTION = re.compile(
    r"\s*(?:(?:and|so|also|but|hi|hello|hey|ok|quick question|question)[,: ]+)*"
    r"(?:do|does|did|can|could|which|what|whats|why|how|when|where|who|name|list|should|"
    r"is there|are there|will|would)\b"
    r"(?! (?:to do|do i do|now))"
)
"""How English sentences begin that ask about things in general, unless they tell of a person."""
_ENDS_SCOPE = re.compile(
    r"\b(?:because|while|when|after|due to|so|then|i|im|ive|my|he|hes|she|shes|we|they|just|only|still|and)\b"
    r"|只是|就是|还|却|反而"
)
_LIST = re.compile(r",(?: ?[a-z ]{1,34},){0,6}(?: ?[a-z ]{1,34})? (?:or|nor) ")


@dataclass(frozen=True, slots=True)
class Scopes:
    """The hits of a text with the marks of each."""

    scan: Scan
    marks: list[int]
    sentences: list[int]
    """Where sentences start, ascending, the first at 0."""

    def sentence(self, at: int) -> int:
        """The number of the sentence that holds the position."""
        return bisect_right(self.sentences, at) - 1


def scopes(scan: Scan) -> Scopes:
    """Read what the clauses of a scanned text say."""
    flat = scan.text.flat
    sentences = [0, *(m.end() for m in _SENTENCE.finditer(flat))]
    starts = {0, *sentences, *scan.text.breaks}
    starts.update(m.end() if m.group() else m.start() for m in _CLAUSE.finditer(flat))
    reader = _Reader(scan, sentences, sorted(starts))
    reader.deny()
    reader.look_back()
    reader.frames()
    return Scopes(scan, reader.marks, sentences)


class _Kind(NamedTuple):
    """What a phrase does for the reading of others, by its concepts."""

    before: tuple[str, ...]
    """Cues that speak of what follows."""
    after: tuple[str, ...]
    """Cues that speak of what came before."""
    frame: frozenset[str]
    sign: bool
    """It is something that others speak of."""
    whole: bool
    """It keeps a cue at its start or end from being one: not so for words of persons."""


@cache
def _kind(concepts: tuple[str, ...]) -> _Kind:
    names = frozenset(concepts)
    cues = names & (MARK_OF.keys() | AFTER.keys())
    return _Kind(
        tuple(name for name in MARK_OF if name in names),
        tuple(name for name in AFTER if name in names),
        names & SCOPE_CONCEPTS,
        bool(names - SCOPE_CONCEPTS),
        not cues and not names <= {"personal", "first_person"},
    )


class _Reader:
    def __init__(self, scan: Scan, sentences: list[int], clauses: list[int]) -> None:
        self.scan = scan
        self.sentences, self.clauses = sentences, clauses
        self.hits = scan.hits
        self.kinds = [_kind(hit.concepts) for hit in self.hits]
        self.marks = [0] * len(self.hits)
        self.clause_of = [bisect_right(clauses, hit.start) - 1 for hit in self.hits]
        self.longest: dict[int, int] = {}
        for hit, kind in zip(self.hits, self.kinds, strict=True):
            if kind.sign and hit.end > self.longest.get(hit.start, 0):
                self.longest[hit.start] = hit.end
        self.free = self._free_cues()

    def _free_cues(self) -> list[bool]:
        """False for a cue that is a part of a longer phrase: the "not" of "not breathing"."""
        free = [True] * len(self.hits)
        reach = 0
        for index, (hit, kind) in enumerate(zip(self.hits, self.kinds, strict=True)):
            if kind.before or kind.after:
                free[index] = hit.end > reach and not any(
                    other.start == hit.start and other.end > hit.end and kind.whole
                    for other, kind in zip(
                        self.hits[index + 1 : index + 6],
                        self.kinds[index + 1 : index + 6],
                        strict=True,
                    )
                )
            elif kind.whole and hit.end > reach:
                reach = hit.end
        return free

    def deny(self) -> None:
        """Cues before what they speak of."""
        for index, kind in enumerate(self.kinds):
            if self.free[index]:
                for cue in kind.before:
                    self._deny_from(index, cue)

    def _deny_from(self, index: int, name: str) -> None:
        flat, cue, between = self.scan.text.flat, self.hits[index], self.scan.between
        room, chained = REACH[name]
        end = self._clause_end(self.clause_of[index])
        if name == "deny" and (bridge := _LIST.match(flat, end - 1)):
            end = max(end, self._clause_end(self._clause_at(bridge.end())))
        last, reached = cue.end, (0, 0)
        for later in range(index + 1, len(self.hits)):
            hit = self.hits[later]
            if hit.end <= cue.end or hit.start == cue.start:
                continue  # a part of the cue, or the longer phrase that the cue begins
            if hit.start >= end or between(min(last, hit.start), hit.start) > room:
                break
            if not self.kinds[later].sign:
                continue
            if _ENDS_SCOPE.search(flat, last, hit.start):
                break
            # "no trouble breathing" denies the trouble: it does not say that nobody breathes
            part = hit.end < self.longest[hit.start] or (
                hit.end <= reached[1] and hit.start > reached[0]
            )
            self.marks[later] |= Mark.FINE if part else MARK_OF[name]
            if hit.end > reached[1]:
                reached = (hit.start, hit.end)
            last, room = max(last, hit.end), chained

    def look_back(self) -> None:
        """Cues after what they speak of: "the bleeding stopped", "胎动正常"."""
        for index, kind in enumerate(self.kinds):
            if not kind.after or not self.free[index]:
                continue
            cue = self.hits[index]
            for name in kind.after:
                reach, mark = AFTER[name]
                for earlier in range(index - 1, max(-1, index - 12), -1):
                    hit = self.hits[earlier]
                    if self.clause_of[earlier] != self.clause_of[index]:
                        break
                    if hit.end <= cue.start and self.scan.between(hit.end, cue.start) <= reach:
                        self.marks[earlier] |= mark

    def frames(self) -> None:
        """Cues that speak for a clause, a sentence, or the sentence before."""
        by_clause: dict[int, set[str]] = {}
        by_sentence: dict[int, set[str]] = {}
        sentence_of = [bisect_right(self.sentences, start) - 1 for start in self.clauses]
        cared_for: dict[int, int] = {}
        for clause, hit, kind in zip(self.clause_of, self.hits, self.kinds, strict=True):
            if kind.frame:
                by_clause.setdefault(clause, set()).update(kind.frame)
                by_sentence.setdefault(sentence_of[clause], set()).update(kind.frame)
                if "in_care" in kind.frame:
                    cared_for[sentence_of[clause]] = hit.start
        everywhere = set().union(*by_sentence.values()) if by_sentence else set()
        vignette = "exam" in everywhere and "first_person" not in everywhere
        known: dict[int, int] = {}
        for index, clause in enumerate(self.clause_of):
            if clause not in known:
                sentence = sentence_of[clause]
                known[clause] = self._frame(sentence, by_clause.get(clause, set()), by_sentence) | (
                    Mark.STUDY if vignette else 0
                )
            self.marks[index] |= known[clause]
            if cared_for and self.hits[index].end <= cared_for.get(sentence_of[clause], 0):
                self.marks[index] |= Mark.GENERAL  # told to a doctor, who then spoke
        self._told_as_past()

    def _frame(self, sentence: int, here: set[str], by_sentence: dict[int, set[str]]) -> int:
        """What the cues of a clause, `here`, and of its sentence say of all in the clause."""
        whole = by_sentence.get(sentence, set())
        mark = 0
        words = {"exam", "topic"}
        if words & here or (words & whole and not _told(here)):
            mark |= Mark.STUDY
        if "prevention" in here or ("prevention" in whole and not _told(here)):
            mark |= Mark.GENERAL
        asks = "study" in whole or self._asks(sentence)
        if asks and not _told(whole) and "now" not in here:
            mark |= Mark.GENERAL
        if "study_sure" in whole and "first_person" not in whole:
            mark |= Mark.GENERAL
        if "past" in here and "now" not in here:
            mark |= Mark.PAST
        well = "recovered" in whole or "recovered" in by_sentence.get(sentence + 1, set())
        if well and not ("now" in here and "recovered" not in here):
            mark |= Mark.GENERAL
        return mark

    def _told_as_past(self) -> None:
        """Chinese marks an experience right after its word: 噎过."""
        for index, kind in enumerate(self.kinds):
            if "past_next" in kind.frame:
                for earlier in range(max(0, index - 6), index):
                    if self.hits[earlier].end == self.hits[index].start:
                        self.marks[earlier] |= Mark.PAST

    def _asks(self, sentence: int) -> bool:
        return _QUESTION.match(self.scan.text.flat, self.sentences[sentence]) is not None

    def _clause_at(self, position: int) -> int:
        return bisect_right(self.clauses, position) - 1

    def _clause_end(self, clause: int) -> int:
        if clause + 1 < len(self.clauses):
            return self.clauses[clause + 1]
        return len(self.scan.text.flat)


def _told(cues: set[str]) -> bool:
    return bool(cues & {"first_person", "personal"})
