"""Where a text names option labels, and whether it claims, rejects or merely mentions them.

The grammar reads normalised text (see `extract.normalise`): full-width forms are ASCII, markup is
gone.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from medray.rewards import phrases as p
from medray.rewards.phrases import any_of

_REACH = 160  # characters of context looked at on either side of a label
_OPEN = r"[\(\[<{「『【《\"'“‘]{0,3}"
_CLOSE = r"[\)\]>}」』】》\"'”’]{0,3}"
OR = r"\bor\b|或者?"
AND = r"\band\b|和|与|以?及"
_SEPARATOR = rf"(?:\s*(?:,\s*(?:and|or)\b|[,、;/&+]|{AND}|{OR})\s*|\s+)"
_HEDGE = re.compile(OR)
_BOUNDARY = re.compile(
    rf"[\n.;!?。,]|(?<!\ball )\bbut\b|{any_of(p.CLAUSE_STARTS)}"
    r"|(?=\b(?:rather\s+than|instead\s+of)\b)|(?=而不是|而非)",
    re.IGNORECASE,
)
_REJECTED_BEFORE = re.compile(
    rf"(?:{any_of(p.REJECT_BEFORE)}|n't\b)(?:\s+{any_of(p.REJECT_BEFORE_FILLERS)})*+\W*$"
    rf"|{any_of(p.ZH_REJECT_BEFORE)}{any_of(p.ZH_REJECT_BEFORE_FILLERS)}*+[\s:]*$",
    re.IGNORECASE,
)
_REJECTED_AFTER = re.compile(
    rf"[\s.:\)]*+(?:{any_of(p.COPULAS)}\s+)?+(?:{any_of(p.ADVERBS)}\s+)*+{any_of(p.WRONG)}"
    rf"|\s*{any_of(p.DENIED)}"
    rf"|[\s.:、\)]*+(?:选项|项)?+(?:{any_of(p.ZH_ADVERBS)})*?{any_of(p.ZH_WRONG)}",
    re.IGNORECASE,
)
_ASKED_AFTER = re.compile(rf"[^\n.;!。,]{{0,{_REACH}}}?(?:\?|吗|呢|么)")
_ONLY_LEADS = re.compile(rf"[\W_]*+(?:{any_of(p.LEADS)}[\W_]*+)*+", re.IGNORECASE)
_ONLY_TAILS = re.compile(rf"[\s.:,\)]*+(?:{any_of(p.TAILS)}[\s.:\)]*+)*+", re.IGNORECASE)
_FILLERS = rf"(?:\s*(?:{any_of(p.CLAIM_FILLERS)}|:))*+"
_LINK = rf"\s*(?::|=|->|→|{any_of(p.CLAIM_COPULAS)}|是|为)"
_CLAIMED_BEFORE = re.compile(
    rf"{any_of(p.CLAIM_NOUNS)}[^.;!?。\n:=]{{0,60}}?{_LINK}{_FILLERS}\s*$"
    r"|\b(?:answer|option|choice)\s+(?:(?:option|choice)\s+)?$"
    rf"|{any_of(p.CLAIM_VERBS)}{_FILLERS}\s*$"
    rf"|{any_of(p.CORRECTIONS)}[\s,]*(?:no[\s,]+)?(?:it\s+is|it's|it\s+must\s+be)?\s*$"
    rf"|{any_of(p.ZH_CLAIM_NOUNS)}{any_of(p.ZH_CLAIM_ADVERBS)}*+(?:是|为|选项|选|:|\s)+$"
    r"|(?:选择|选项|选)(?:的是|了|出|为|:|\s)*$",
    re.IGNORECASE,
)
_CLAIMED_AFTER = re.compile(
    rf"[\s\)]*(?:is|are)\s+(?:{any_of(p.RIGHT_ADVERBS)}\s+)*+{any_of(p.RIGHT)}"
    r"|[\s\)]*(?:选项|项)?[都均是为才]*(?:最佳|正确|对的|对$|符合)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mention:
    """Labels named together at one place of a text, such as "A, C and D"."""

    labels: tuple[str, ...]
    start: int
    end: int
    is_rejected: bool  # "A is wrong", "not A", "is it A?"
    is_hedged: bool  # "A or B", and more than one word label
    is_anchored: bool  # "the answer is A", "A is correct"
    is_alone: bool  # nothing else in its clause but connecting words

    @property
    def is_claimed(self) -> bool:
        """True when the text puts the labels forward."""
        return not (self.is_rejected or self.is_hedged)


class Context:
    """What stands around the spans of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        found = list(_BOUNDARY.finditer(text))
        self._starts = [m.start() for m in found]
        self._ends = [m.end() for m in found]

    def is_rejected(self, start: int, end: int) -> bool:
        """True when the words around the span deny or question it."""
        before = self._text[max(self._clause_start(start), start - _REACH) : start]
        return bool(
            _REJECTED_BEFORE.search(before)
            or _REJECTED_AFTER.match(self._text, end)
            or _ASKED_AFTER.match(self._text, end)
        )

    def is_anchored(self, start: int, end: int) -> bool:
        """True when the span is claimed: "the answer is" before it, or "is correct" after."""
        return self.is_answer(start) or bool(_CLAIMED_AFTER.match(self._text, end))

    def is_answer(self, start: int) -> bool:
        """True when a claim such as "the answer is" ends at `start`."""
        return bool(_CLAIMED_BEFORE.search(self._text[max(0, start - _REACH) : start]))

    def is_alone(self, start: int, end: int) -> bool:
        """True when the span's clause holds nothing else but connecting words."""
        clause_start, clause_end = self._clause_start(start), self._clause_end(end)
        if start - clause_start > _REACH or clause_end - end > _REACH:
            return False
        return bool(
            _ONLY_LEADS.fullmatch(self._text, clause_start, start)
            and _ONLY_TAILS.fullmatch(self._text, end, clause_end)
        )

    def _clause_start(self, start: int) -> int:
        index = bisect.bisect_right(self._ends, start)
        return self._ends[index - 1] if index else 0

    def _clause_end(self, end: int) -> int:
        index = bisect.bisect_left(self._starts, end)
        return self._starts[index] if index < len(self._starts) else len(self._text)


def find_mentions(
    text: str, context: Context, names: tuple[str, ...], *, is_letters: bool
) -> Iterator[Mention]:
    """Every place where normalised `text` names labels, in order."""
    for match in _list_pattern(names, is_letters).finditer(text):
        labels = _split_labels(match.group(), names, is_letters=is_letters)
        if not labels:
            continue
        start, end = match.span()
        yield Mention(
            labels=labels,
            start=start,
            end=end,
            is_rejected=context.is_rejected(start, end),
            is_hedged=bool(_HEDGE.search(match.group())) or (not is_letters and len(labels) > 1),
            is_anchored=context.is_anchored(start, end),
            is_alone=context.is_alone(start, end),
        )


def _split_labels(text: str, names: tuple[str, ...], *, is_letters: bool) -> tuple[str, ...]:
    """The distinct labels in a run such as "A, C and D", "ABD" or "yes", in the order of `names`.

    Joined letters count only when they ascend, as exam answers are written: "CAD" and "BAD" are
    words.
    """
    if not is_letters:
        found = {m.group().casefold() for m in _item_pattern(names, False).finditer(text)}
        return tuple(name for name in names if name.casefold() in found)
    letters: set[str] = set()
    for run in re.findall(r"(?<![A-Za-z])[A-Z]+(?![A-Za-z])", text):
        if list(run) != sorted(set(run)):
            return ()
        letters |= set(run)
    return tuple(name for name in names if name in letters)


@functools.lru_cache(maxsize=64)
def _list_pattern(names: tuple[str, ...], is_letters: bool) -> re.Pattern[str]:
    """One label or several joined by commas, blanks, "and" or "or"."""
    item = f"{_OPEN}{_item_pattern(names, is_letters).pattern}{_CLOSE}"
    return re.compile(f"{item}(?:{_SEPARATOR}{item})*", 0 if is_letters else re.IGNORECASE)


@functools.lru_cache(maxsize=64)
def _item_pattern(names: tuple[str, ...], is_letters: bool) -> re.Pattern[str]:
    """One label that is not part of a word, a name ("vitamin A") or a phrase ("a patient")."""
    if is_letters:
        letter = f"[{names[0]}-{names[-1]}]"
        return re.compile(
            rf"(?<![A-Za-z0-9])(?<![A-Za-z0-9]-)(?<![A-Za-z]['’]){letter}{{1,{len(names)}}}"
            rf"(?![A-Za-z0-9]|[-'’][A-Za-z0-9]|\s*{any_of(p.ZH_COMPOUNDS)}"
            rf"|\s+(?!{any_of(p.FOLLOWERS)})[a-z])"
        )
    words = []
    for name in sorted(names, key=len, reverse=True):
        guard = rf"(?!\s+(?!{any_of(p.NO_FOLLOWERS)})[a-z])" if name.casefold() == "no" else ""
        words.append(f"{_edge(name, 0)}{re.escape(name)}{_edge(name, -1)}{guard}")
    return re.compile(f"(?:{'|'.join(words)})", re.IGNORECASE)


def _edge(name: str, at: int) -> str:
    if not (name[at].isascii() and name[at].isalnum()):
        return "(?<![不未非无])" if at == 0 else ""
    return "(?<![A-Za-z0-9])" if at == 0 else "(?![A-Za-z0-9])"
