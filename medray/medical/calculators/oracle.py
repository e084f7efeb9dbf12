"""A calculator's answer, from the `medcalc-bench` package."""

from __future__ import annotations

import contextlib
import importlib
import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medray.errors import DataError
from medray.medical.calculators.catalog import Calculator

PACKAGE = "medcalc-bench"
_MAX_DRAWS = 100


@dataclass(frozen=True, slots=True)
class Case:
    """Values of a calculator's inputs, and its answer."""

    calculator: Calculator
    values: Mapping[str, float]
    """By key, in the inputs' units."""
    findings: Mapping[str, bool]
    sex: str
    """Male or Female; drawn for every case."""
    answer: float


def draw_case(calculator: Calculator, rng: random.Random) -> Case:
    """A case whose answer is above 0, or at least 0 for a score."""
    for _ in range(_MAX_DRAWS):
        values = {i.key: round(rng.uniform(i.low, i.high), i.decimals) for i in calculator.inputs}
        findings = {finding.key: rng.random() < 0.4 for finding in calculator.findings}
        sex = rng.choice(("Female", "Male"))
        answer = ask_oracle(calculator, values, findings, sex)
        if answer > 0 or calculator.is_rule:
            return Case(calculator, values, findings, sex, answer)
    raise DataError(f"{calculator.english}: no case with an answer above 0 in {_MAX_DRAWS} draws")


def ask_oracle(
    calculator: Calculator, values: Mapping[str, float], findings: Mapping[str, bool], sex: str
) -> float:
    """The package's answer.

    Raises:
        DataError: the package is missing.
    """
    try:
        module = importlib.import_module(f"medcalc.{calculator.module}")
    except ModuleNotFoundError:
        raise DataError(
            f"data.kind=calculators needs the package {PACKAGE}: pip install {PACKAGE}"
        ) from None
    units = {i.key: i.unit for i in calculator.inputs}
    asked: dict[str, Any] = {key: (value, units[key]) for key, value in values.items()}
    asked |= findings
    if calculator.needs_sex:
        asked["sex"] = sex
    with contextlib.redirect_stdout(io.StringIO()):
        return float(getattr(module, calculator.function)(asked)["Answer"])
