"""A number with its unit: is it the gold value, in whatever unit and notation it is written?

Read is the marked answer (`<answer>`, `\\boxed{}`, `####`), else what follows the last claim ("the dose is" and the
like), else the last quantity of the visible text that can be compared with the gold one. A range or two alternatives
are no answer.

Tolerance of MedCalc-Bench (arXiv:2406.12036): answers of rules are exact, equations within the row's limits or 5%.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Self

from pydantic import Field, model_validator

from medray.config.base import MayBeBlank, Section
from medray.errors import GraderError
from medray.medical.quantities.reading import Quantity, find_quantities, normalised
from medray.medical.quantities.substances import Substance, only_substance_in, substance_named
from medray.medical.quantities.units import factor_between
from medray.rewards.text import marked_answer
from medray.thoughts import visible_text
from medray.types import GroupScore, Prompt, Record, Response

_CLAIM = re.compile(
    r"\b(?:answer|result|dose|value|total|score|level|concentration)\b[^.\n=:]{0,40}?(?:\bis\b|\bare\b|=|:|≈|\bequals\b)"
    r"|(?:答案|结果|结论|剂量|总分|得分|数值|共计|合计)[^。\n=:]{0,12}?(?:应为|是|为|=|:|≈|约)|####",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[。\n!?！？;；]|\.(?=\s|\Z)")
_OR = re.compile(r"\s*,?\s*(?:\bor\b|或者?|还是)\s*(?:about|大约|约)?\s*", re.IGNORECASE)
_EQUALS = re.compile(r"[=≈]")
_POWERS = (-3, -2, -1, 1, 2, 3)
MEDCALC_TOLERANCE = 0.05


class NumericOptions(Section):
    """Tolerance, units, and weights of the parts."""

    absolute: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Largest difference that counts as equal, in the gold value's unit."""
    relative: float = Field(default=1e-3, ge=0, lt=1, allow_inf_nan=False)
    """Largest difference that counts as equal, as a share of the gold value."""
    medcalc: bool = False
    """MedCalc-Bench's tolerance instead: exact where `extra.output_type` is integer, else the row's limits or 5%."""
    unit: Annotated[str | None, MayBeBlank()] = None
    """Unit of gold values that have none; null takes `extra.unit`."""
    substance: Annotated[str | None, MayBeBlank()] = None
    """What is measured, for mmol/L and mg/dL; null takes `extra.substance`, or the only one the question names."""
    unit_required: bool = False
    """An answer without a unit is wrong when the gold value has one."""
    right: float = Field(default=1.0, allow_inf_nan=False)
    """Weight of a right value."""
    parsed: float = Field(default=0.0, allow_inf_nan=False)
    """Weight of an answer that can be read."""
    unit_given: float = Field(default=0.0, allow_inf_nan=False)
    """Weight of a unit that fits the gold value's."""
    ten_fold: float = Field(default=0.0, le=0, allow_inf_nan=False)
    """Weight, 0 or negative, of a value off by a factor of 10, 100 or 1,000."""

    @model_validator(mode="after")
    def _something_is_paid(self) -> Self:
        if self.right == self.parsed == self.unit_given == self.ten_fold == 0:
            raise ValueError("all weights are 0, so all responses tie: raise right")
        return self


@dataclass(frozen=True, slots=True)
class Gold:
    """The gold quantity, the interval that counts as equal to it, and what is measured."""

    quantity: Quantity
    low: float
    high: float
    substance: Substance | None = None

    def value_of(self, found: Quantity) -> float | None:
        """A quantity in the gold one's unit; without a unit it counts as in that unit. None: not comparable."""
        if not found.unit or not self.quantity.unit:
            return found.value
        factor = factor_between(found.unit, self.quantity.unit, self.substance)
        return None if factor is None else factor[0] * found.value + factor[1]

    def is_right(self, value: float) -> bool:
        """Whether a value, in the gold unit, is within the tolerance; rounding of the last digit is forgiven."""
        slack = 1e-9 * max(1.0, abs(self.quantity.value))
        return self.low - slack <= value <= self.high + slack


class NumericReward:
    """Weighted parts, each 0 or 1: `right`, `parsed`, `unit_given`, `ten_fold`."""

    Options = NumericOptions
    parts = ("right", "parsed", "unit_given", "ten_fold")

    def __init__(self, options: NumericOptions | None = None) -> None:
        self.options = NumericOptions() if options is None else options
        self.weights = tuple(getattr(self.options, part) for part in self.parts)
        self.low = math.fsum(min(w, 0.0) for w in self.weights)
        self.high = math.fsum(max(w, 0.0) for w in self.weights)

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Grade the responses to one question.

        Raises:
            GraderError: the record's answer is not a number.
        """
        gold = gold_of(prompt.record, self.options)
        checks = [self._checks(response.visible_text, gold) for response in responses]
        rewards = tuple(
            math.fsum(w * c for w, c in zip(self.weights, one, strict=True)) for one in checks
        )
        columns = zip(*checks, strict=True) if checks else ((),) * len(self.parts)
        return GroupScore(rewards, dict(zip(self.parts, columns, strict=True)))

    def _checks(self, text: str, gold: Gold) -> tuple[float, float, float, float]:
        found = answer_quantity(text, gold)
        if found is None:
            return 0.0, 0.0, 0.0, 0.0
        value = gold.value_of(found)
        fits = bool(found.unit) and value is not None
        lacks_unit = self.options.unit_required and bool(gold.quantity.unit) and not found.unit
        if value is None or lacks_unit:
            return 0.0, 1.0, float(fits), 0.0
        right = gold.is_right(value)
        ten_fold = not right and any(gold.is_right(value * 10.0**power) for power in _POWERS)
        return float(right), 1.0, float(fits), float(ten_fold and gold.quantity.value != 0)


def gold_of(record: Record, options: NumericOptions) -> Gold:
    """The gold quantity of a record.

    Raises:
        GraderError: its answer, or a limit, is not one number.
    """
    found = find_quantities(normalised(record.answer.rpartition("####")[2]))
    if len(found) != 1 or not math.isfinite(found[0].value):
        raise GraderError(
            f"record {record.id}: its answer {record.answer!r} is not one number: use kind: text or math"
        )
    gold, extra = found[0], record.extra
    unit = options.unit or str(extra.get("unit") or "")
    if unit and not gold.unit:
        gold = replace(gold, unit=_unit(unit, record))
    low, high = _interval(gold.value, record, options)
    name = options.substance or str(extra.get("substance") or "")
    asked = "\n".join(message["content"] for message in record.messages)
    substance = substance_named(name) if name else only_substance_in(asked)
    return Gold(gold, low, high, substance)


def _unit(text: str, record: Record) -> str:
    found = find_quantities(normalised(f"1 {text}"))
    if len(found) != 1 or not found[0].unit:
        raise GraderError(f"record {record.id}: {text!r} is not a unit that medray knows")
    return found[0].unit


def _interval(value: float, record: Record, options: NumericOptions) -> tuple[float, float]:
    if not options.medcalc:
        width = max(options.absolute, options.relative * abs(value))
        return value - width, value + width
    if record.extra.get("output_type") == "integer":
        return value, value
    limits = [str(record.extra.get(f"{side}_limit") or "") for side in ("lower", "upper")]
    if all(limits):
        try:
            low, high = sorted(float(limit) for limit in limits)
        except ValueError:
            raise GraderError(f"record {record.id}: its limits {limits} are not numbers") from None
        return low, high
    width = MEDCALC_TOLERANCE * abs(value)
    return value - width, value + width


def answer_quantity(response: str, gold: Gold) -> Quantity | None:
    """The one quantity that a response commits to; None where there is none, a range, or several to choose from."""
    visible = visible_text(response)
    marked = marked_answer(visible)
    if marked is not None:
        return _first(_after_equals(normalised(marked)), gold)
    text = normalised(visible)
    claims = list(_CLAIM.finditer(text))
    for claim in reversed(claims):
        end = _SENTENCE_END.search(text, claim.end())
        segment = text[claim.end() : end.start() if end else None]
        if any(not q.is_denied for q in find_quantities(segment)):
            return _first(_after_equals(segment), gold)
    return _last(text, gold)


def _after_equals(text: str) -> str:
    """What follows the last equals sign that a number follows."""
    for piece in reversed(_EQUALS.split(text)):
        if find_quantities(piece):
            return piece
    return text


def _first(text: str, gold: Gold) -> Quantity | None:
    found = [q for q in find_quantities(text) if not q.is_denied]
    fitting = [q for q in found if gold.value_of(q) is not None] or found
    if not fitting or fitting[0].is_range:
        return None
    return None if _has_alternative(text, fitting[0], found) else fitting[0]


def _last(text: str, gold: Gold) -> Quantity | None:
    found = [q for q in find_quantities(text) if not q.is_denied]
    fitting = [q for q in found if q.unit and gold.value_of(q) is not None] or found
    if not fitting or fitting[-1].is_range:
        return None
    return None if _has_alternative(text, fitting[-1], found) else fitting[-1]


def _has_alternative(text: str, chosen: Quantity, found: Sequence[Quantity]) -> bool:
    """Whether "or" joins the chosen quantity to another."""
    return any(
        _OR.fullmatch(text, one.end, two.start)
        for one, two in itertools.pairwise(found)
        if chosen in (one, two)
    )
