"""The hook around one answer: what comes before it, what is watched while it is written, what comes after it.

    verdict = guard.before(["My chest hurts and my left arm is numb"])
    answer = verdict.prefix + model(...)          # or verdict.prefix alone, where verdict.answer_alone
    watch = verdict.watch(); watch.feed(text)     # piece by piece, as it is written
    answer += watch.suffix()

Plain Python without a model: it takes milliseconds and gives the same verdict every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from medray.medical.safety.advice import CORRECTION, DISCLAIMER, advice
from medray.medical.safety.answers import find_answer_faults
from medray.medical.safety.language import Language, is_covered, language_of
from medray.medical.safety.red_flags import RED_FLAGS, find_red_flags

Mode = Literal["enforce", "report", "off"]
NUM_TURNS = 3
"""User turns read together: symptoms are often told one at a time."""
OVERLAP_CHARS = 200
"""End of the text already checked that is read again with each new piece, so that a phrase may straddle both."""
CHECK_EVERY_CHARS = 80
UNNAMED = "emergency"
"""The flag of an emergency that a second stage found, which names none."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules and what they may do; one for a whole server."""

    mode: Mode = "enforce"
    emergency: Literal["first", "only"] = "first"
    disclaimer: Literal["always", "emergency", "never"] = "always"

    def before(self, turns: Sequence[str]) -> Verdict:
        """Check what was said to the model, the newest turn last.

        Only what the newest turn adds brings advice: advice already given is not repeated with every turn. Whatever any
        turn shows keeps the answers watched.
        """
        if self.mode == "off" or not turns:
            return Verdict(self, (), "en")
        newest, earlier = turns[-1], turns[-NUM_TURNS:-1]
        new = set(find_red_flags(newest))
        shown = new.union(*(find_red_flags(turn) for turn in turns[:-1]))
        if earlier:
            known = find_red_flags("\n\n".join(earlier))
            together = find_red_flags("\n\n".join((*earlier, newest)))
            new.update(flag for flag in together if flag not in known)
            shown.update(known, together)
        return Verdict(
            self,
            tuple(flag for flag in RED_FLAGS if flag in new),
            language_of(newest),
            tuple(flag for flag in RED_FLAGS if flag in shown),
            is_covered(newest),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of a request."""

    guard: Guard
    red_flags: tuple[str, ...]
    """Names of the red flags that the newest turn adds, most urgent first."""
    language: Language
    shown: tuple[str, ...] = ()
    """Names of all red flags of the conversation, for which answers are watched."""
    covered: bool = True
    """False where the newest turn is in a language that the rules do not cover."""

    @property
    def prefix(self) -> str:
        """Text that comes before the model's answer; empty where there is no red flag, or nothing may change."""
        if self.guard.mode != "enforce" or not self.red_flags:
            return ""
        return advice(self.red_flags, self.language) + "\n\n"

    @property
    def answer_alone(self) -> bool:
        """The advice is the whole answer; the model is not asked."""
        return bool(self.prefix) and self.guard.emergency == "only"

    @property
    def emergency(self) -> bool:
        """The conversation shows a red flag, in this turn or an earlier one."""
        return bool(self.red_flags or self.shown)

    def escalated(self) -> Verdict:
        """The verdict after a second stage found an emergency that the rules had not heard."""
        if self.red_flags:
            return self
        return replace(self, red_flags=(UNNAMED,), shown=(*self.shown, UNNAMED))

    def watch(self) -> AnswerWatch:
        """A watch over one answer to this request."""
        return AnswerWatch(self)


class AnswerWatch:
    """Reads an answer as it is written."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._unread = ""
        self._overlap = ""
        self.faults: list[str] = []
        """Names of the rules the answer breaks, in the order found."""

    def feed(self, text: str) -> None:
        """Take the next piece of the answer."""
        if self._verdict.guard.mode == "off":
            return
        self._unread += text
        if len(self._unread) >= CHECK_EVERY_CHARS:
            self._read()

    def suffix(self) -> str:
        """Text that comes after the answer, which is now complete: a correction, a disclaimer, or nothing."""
        guard, language = self._verdict.guard, self._verdict.language
        self._read()
        if guard.mode != "enforce":
            return ""
        parts = [CORRECTION[language][fault] for fault in self.faults]
        emergency = self._verdict.emergency
        if guard.disclaimer == "always" or (guard.disclaimer == "emergency" and emergency):
            parts.append(DISCLAIMER[language])
        return "".join(f"\n\n{part}" for part in parts)

    def _read(self) -> None:
        if not self._unread:
            return
        window = self._overlap + self._unread
        for fault in find_answer_faults(window, emergency=self._verdict.emergency):
            if fault not in self.faults:
                self.faults.append(fault)
        self._overlap, self._unread = window[-OVERLAP_CHARS:], ""
