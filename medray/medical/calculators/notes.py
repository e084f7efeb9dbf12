"""Notes about a case, in several phrasings, English and Chinese."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from medray.medical.calculators.catalog import Input
from medray.medical.calculators.oracle import Case

TRAIN_PHRASINGS = ("list", "sentence", "semicolons", "table")
HELD_OUT_PHRASINGS = ("narrative", "brackets")
"""Phrasings that only held-out problems are written in."""
_ENGLISH_OPENINGS = (
    "A patient is seen on the ward.",
    "New admission.",
    "Outpatient visit.",
    "Handover from the night shift.",
)
_CHINESE_OPENINGS = ("病房查房。", "新入院患者。", "门诊就诊。", "夜班交班记录。")
_ASIDES = (
    ("The family visited in the morning.", "家属上午探视。"),
    ("Allergies: none known.", "无已知过敏史。"),
    ("The ward has 24 beds.", "病区有24张床位。"),
    ("Next review in 3 days.", "3天后复查。"),
)
"""Of no use for any calculator: numbers that are not to be taken."""


def write_note(case: Case, phrasing: str, language: str, rng: random.Random) -> str:
    """The note of a case; the order of the facts and an aside are drawn."""
    is_chinese = language == "zh"
    facts = _facts(case, is_chinese)
    rng.shuffle(facts)
    opening = rng.choice(_CHINESE_OPENINGS if is_chinese else _ENGLISH_OPENINGS)
    aside = rng.choice(_ASIDES)[is_chinese]
    body = _WRITERS[phrasing](facts, is_chinese)
    parts = [opening, body, aside] if rng.random() < 0.5 else [opening, aside, body]
    return "\n".join(parts)


def ask(case: Case, language: str) -> str:
    """The question about a case, and the form of its answer."""
    calculator = case.calculator
    if language == "zh":
        unit = f"，单位为{calculator.unit}" if calculator.unit else ""
        return f"该患者的{calculator.chinese}是多少？最后一行写“答案：”和一个数值{unit}。"
    unit = f" in {calculator.unit}" if calculator.unit else ""
    return f'What is the patient\'s {calculator.english}? End with a line "Answer: " and one number{unit}.'


def _facts(case: Case, is_chinese: bool) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for one in case.calculator.inputs:
        found.append((one.chinese if is_chinese else one.english, _value(case, one, is_chinese)))
    if case.calculator.needs_sex:
        said = {"Male": "男", "Female": "女"}[case.sex] if is_chinese else case.sex.lower()
        found.append(("性别" if is_chinese else "sex", said))
    for finding in case.calculator.findings:
        says_yes = case.findings[finding.key]
        answer = ("有" if says_yes else "无") if is_chinese else ("yes" if says_yes else "no")
        found.append((finding.chinese if is_chinese else finding.english, answer))
    return found


def _value(case: Case, one: Input, is_chinese: bool) -> str:
    value = case.values[one.key]
    number = f"{value:,.0f}" if one.decimals < 0 else f"{value:.{one.decimals}f}"
    unit = (
        {"years": "岁", "breaths per minute": "次/分", "bpm": "次/分"}.get(one.shown_unit)
        if is_chinese
        else None
    )
    return f"{number}{unit}" if unit else f"{number} {one.shown_unit}"


Facts = Sequence[tuple[str, str]]


def _list(facts: Facts, is_chinese: bool) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts)


def _sentence(facts: Facts, is_chinese: bool) -> str:
    if is_chinese:
        return "患者" + "，".join(f"{name}为{value}" for name, value in facts) + "。"
    said = [f"{name} {value}" for name, value in facts]
    return (
        "The patient has: " + ", ".join(said[:-1]) + (" and " if said[:-1] else "") + said[-1] + "."
    )


def _semicolons(facts: Facts, is_chinese: bool) -> str:
    return "; ".join(f"{name} = {value}" for name, value in facts)


def _table(facts: Facts, is_chinese: bool) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in facts)


def _narrative(facts: Facts, is_chinese: bool) -> str:
    if is_chinese:
        return "".join(f"检查记录显示{name}：{value}。" for name, value in facts)
    return " ".join(f"On record, the {name} was noted as {value}." for name, value in facts)


def _brackets(facts: Facts, is_chinese: bool) -> str:
    return " ".join(f"[{value}: {name}]" for name, value in facts)


_WRITERS: dict[str, Callable[[Facts, bool], str]] = {
    "list": _list, "sentence": _sentence, "semicolons": _semicolons, "table": _table, "narrative": _narrative,
    "brackets": _brackets,
}  # fmt: skip
