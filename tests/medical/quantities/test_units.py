"""Conversions against factors printed in laboratory handbooks, not computed here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.medical.quantities.reading import find_quantities, normalised
from medray.medical.quantities.substances import (
    SUBSTANCES,
    Substance,
    only_substance_in,
    substance_named,
)
from medray.medical.quantities.units import NAMES, factor_between

EXACT = """
kg g 1000; g mg 1000; mg mcg 1000; mcg ng 1000; ng pg 1000; kg mg 1000000; lb g 453.59237; oz g 28.349523125;
L mL 1000; L dL 10; dL mL 100; mL uL 1000; L uL 1000000; mol mmol 1000; mmol umol 1000; umol nmol 1000; nmol pmol 1000;
m cm 100; cm mm 10; m mm 1000; in cm 2.54; ft cm 30.48; ft in 12; h min 60; min s 60; day h 24; week day 7; s ms 1000;
year day 365.25; eq meq 1000; iu miu 1000; miu uiu 1000; kPa mmHg 7.500617; cmH2O mmHg 0.735559; mm3 uL 1;
cm3 mL 1; cc mL 1;
g/dL mg/dL 1000; g/dL g/L 10; mg/dL mg/L 10; mg/L mcg/mL 1; mcg/mL mg/dL 0.1; ng/mL mcg/L 1; ng/dL ng/mL 0.01;
pg/mL ng/L 1; mmol/L umol/L 1000; umol/L nmol/mL 1; mEq/L mEq/dL 0.1; U/L U/mL 0.001; mIU/L uIU/mL 1;
mg/kg/day mcg/kg/min 0.694444; mL/min L/h 0.06; mL/min L/day 1.44; mcg/min mg/h 0.06;
mg/day mg/week 7; g/day mg/min 0.694444
"""
ANALYTES = """
glucose mg/dL mmol/L 0.0555; creatinine mg/dL umol/L 88.4; urea_nitrogen mg/dL mmol/L 0.357; urea mg/dL mmol/L 0.1665;
uric_acid mg/dL umol/L 59.48; cholesterol mg/dL mmol/L 0.02586; triglycerides mg/dL mmol/L 0.0113;
bilirubin mg/dL umol/L 17.1; calcium mg/dL mmol/L 0.2495; calcium mEq/L mmol/L 0.5; calcium mg/dL mEq/L 0.499;
magnesium mg/dL mmol/L 0.4114; magnesium mEq/L mmol/L 0.5; phosphorus mg/dL mmol/L 0.3229; sodium mEq/L mmol/L 1;
potassium mEq/L mmol/L 1; chloride mEq/L mmol/L 1; bicarbonate mEq/L mmol/L 1; lithium mEq/L mmol/L 1;
lactate mg/dL mmol/L 0.111; ammonia ug/dL umol/L 0.587; iron ug/dL umol/L 0.179; ethanol mg/dL mmol/L 0.2171;
cortisol ug/dL nmol/L 27.59; thyroxine ug/dL nmol/L 12.87; vitamin_b12 pg/mL pmol/L 0.7378; folate ng/mL nmol/L 2.266;
25-hydroxyvitamin_d ng/mL nmol/L 2.496; testosterone ng/dL nmol/L 0.0347; digoxin ng/mL nmol/L 1.281;
theophylline ug/mL umol/L 5.55; paracetamol ug/mL umol/L 6.614; salicylate mg/dL mmol/L 0.0724;
phenytoin ug/mL umol/L 3.964;
carbamazepine ug/mL umol/L 4.233; valproate ug/mL umol/L 6.934; vancomycin ug/mL umol/L 0.690
"""
TEMPERATURES = [(37.0, 98.6), (40.0, 104.0), (0.0, 32.0), (38.5, 101.3), (-40.0, -40.0)]


def rows(table: str) -> list[list[str]]:
    return [row.split() for row in table.replace("\n", " ").split(";") if row.strip()]


CASES = [
    case
    for name, one, two, factor in [["", *row] for row in rows(EXACT)] + rows(ANALYTES)
    for x in (1.0, 7.3)
    for case in (
        (name, x, one, float(factor) * x, two),
        (name, float(factor) * x, two, x, one),
    )
]


def unit(text: str) -> str:
    [found] = find_quantities(normalised(f"1 {text}"))
    assert found.unit, text
    return found.unit


def converted(x: float, one: str, two: str, substance: Substance | None) -> float | None:
    factor = factor_between(unit(one), unit(two), substance)
    return None if factor is None else factor[0] * x + factor[1]


def test_there_are_three_hundred_conversions() -> None:
    assert len(CASES) + 2 * len(TEMPERATURES) >= 300


@pytest.mark.parametrize(("name", "x", "one", "expected", "two"), CASES)
def test_conversion(name: str, x: float, one: str, expected: float, two: str) -> None:
    substance = substance_named(name.replace("_", " ")) if name else None
    assert bool(name) == (substance is not None)
    # Handbooks round to three digits; exact factors are held to six.
    assert converted(x, one, two, substance) == pytest.approx(expected, rel=6e-3 if name else 1e-6)


@pytest.mark.parametrize(("celsius", "fahrenheit"), TEMPERATURES)
def test_temperatures(celsius: float, fahrenheit: float) -> None:
    assert converted(celsius, "°C", "°F", None) == pytest.approx(fahrenheit, abs=1e-6)
    assert converted(fahrenheit, "℉", "℃", None) == pytest.approx(celsius, abs=1e-6)


@pytest.mark.parametrize(
    ("one", "two"),
    [("mg", "mL"), ("mg", "tablets"), ("mg/dL", "mmol/L"), ("IU", "mg"), ("mmHg", "mg"),
     ("mEq", "mmol"), ("days", "times"), ("mg/kg", "mg"), ("/uL", "g/L")],
)  # fmt: skip
def test_different_things_do_not_convert(one: str, two: str) -> None:
    assert factor_between(unit(one), unit(two)) is None
    assert factor_between(unit(two), unit(one)) is None


def test_case_and_language_do_not_matter() -> None:
    for same in (
        ("mg", "MG", "毫克", "milligrams"),
        ("mmol/L", "MMOL/L", "毫摩尔/升"),
        ("mL/min", "毫升/分钟"),
    ):
        assert len({unit(text) for text in same}) == 1


def test_a_question_names_what_is_measured() -> None:
    assert only_substance_in("Her glucose was high. Convert the glucose.") == SUBSTANCES["glucose"]
    assert only_substance_in("尿素氮偏高") == SUBSTANCES["urea nitrogen"]
    assert only_substance_in("glucose and calcium") is None
    assert only_substance_in("bundle of nerves") is None


@given(st.sampled_from(sorted(NAMES)), st.sampled_from(sorted(NAMES)))
def test_conversion_goes_back_and_forth(one: str, two: str) -> None:
    there = factor_between(unit(one), unit(two))
    back = factor_between(unit(two), unit(one))
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        x = back[0] * (there[0] * 3.0 + there[1]) + back[1]
        assert x == pytest.approx(3.0, rel=1e-6, abs=1e-6)
