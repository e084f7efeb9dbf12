"""The answer of a medical calculator, with MedCalc-Bench's tolerance.

Scores by rules are exact, equations within the row's limits, dates and spans of time exact. Source: MedCalc-Bench
(arXiv:2406.12036). For rows of `data.kind` calculators, calculators-zh and medcalc.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

from medray.medical.quantities.reading import find_quantities, normalised
from medray.medical.quantities.units import factor_between
from medray.rewards.numeric import NumericOptions, NumericReward
from medray.rewards.text import marked_answer
from medray.thoughts import visible_text
from medray.types import GroupScore, Prompt, Response

_MONTH_FIRST = r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})"
_YEAR_FIRST = r"(?P<y2>\d{4})\s*[-/年]\s*(?P<m2>\d{1,2})\s*[-/月]\s*(?P<d2>\d{1,2})"
_DATE = re.compile(rf"(?<!\d)(?:{_MONTH_FIRST}|{_YEAR_FIRST})(?!\d)")
_SPAN = re.compile(r"\(?'?(\d+) weeks?'?,?\s*'?(\d+) days?'?\)?")
Time = datetime.date | float


class CalculationOptions(NumericOptions):
    """As of `numeric`, with MedCalc-Bench's tolerance."""

    medcalc: bool = True
    """MedCalc-Bench's tolerance: exact where `extra.output_type` is integer, else the row's limits or 5%."""


class CalculationReward(NumericReward):
    """`numeric` for calculators: the same parts, and dates and spans of time as MedCalc-Bench has them."""

    Options = CalculationOptions

    def __init__(self, options: CalculationOptions | None = None) -> None:
        super().__init__(CalculationOptions() if options is None else options)

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Grade the responses to one question.

        Raises:
            GraderError: the record's answer is no number, date or span of time.
        """
        gold = _time_of(prompt.record.answer)
        if gold is None:
            return super().score(prompt, responses)
        said = [_said(response.visible_text, gold) for response in responses]
        parts = {
            "right": tuple(float(time == gold) for time in said),
            "parsed": tuple(float(time is not None) for time in said),
            "unit_given": (0.0,) * len(said),
            "ten_fold": (0.0,) * len(said),
        }
        weights = (self.options.right, self.options.parsed)
        rewards = tuple(
            weights[0] * r + weights[1] * p
            for r, p in zip(parts["right"], parts["parsed"], strict=True)
        )
        return GroupScore(rewards, parts)


def _time_of(answer: str) -> Time | None:
    """A gold date, or a gold span in days; None for a number."""
    span = _SPAN.fullmatch(answer.strip())
    if span:
        return 7.0 * int(span[1]) + int(span[2])
    return _dates(answer)[-1] if _DATE.fullmatch(answer.strip()) and _dates(answer) else None


def _said(text: str, gold: Time) -> Time | None:
    """The last date, or the last span of time in days, that a response names."""
    visible = visible_text(text)
    marked = marked_answer(visible)
    answer = visible if marked is None else marked
    if isinstance(gold, datetime.date):
        dates = _dates(answer)
        return dates[-1] if dates else None
    found = [q for q in find_quantities(normalised(answer)) if q.unit in ("week", "day")]
    if not found:
        return None
    last = found[-1:]
    if len(found) > 1 and (found[-2].unit, found[-1].unit) == ("week", "day"):
        last = found[-2:]
    return round(sum(q.value * (factor_between(q.unit, "day") or (0.0, 0.0))[0] for q in last), 6)


def _dates(text: str) -> list[datetime.date]:
    found: list[datetime.date] = []
    for match in _DATE.finditer(text):
        parts = match.groupdict()
        year, month, day = (parts[k] or parts[f"{k}2"] for k in ("y", "m", "d"))
        try:
            found.append(datetime.date(int(year), int(month), int(day)))
        except ValueError:
            continue
    return found
