"""How many emergencies the rules find, however they are written, and how many near misses they leave alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from medray.medical.safety.red_flags import find_red_flags
from tests.medical.safety.rewritings import PREFIXES, REWRITINGS
from tests.support.safety_sets import EMERGENCIES, FOLDER, NEAR_MISSES, PARTS, SCRIPTS

PLAIN = (FOLDER / "emergencies.txt").read_text(encoding="utf-8").splitlines()
ORDINARY = (FOLDER / "ordinary.txt").read_text(encoding="utf-8").splitlines()
FOUND = [row.text for row in EMERGENCIES if row.flagged]


@pytest.mark.parametrize(("part", "script"), list(product(PARTS[:2], SCRIPTS)))
def test_emergencies_are_found_and_near_misses_are_not(part: str, script: str) -> None:
    rows = [r for r in EMERGENCIES if (r.half, r.script) == (part, script)]
    for register, least in (("textbook", 0.97), ("lifelike", 0.75)):
        flagged = [r.flagged for r in rows if r.register == register]
        assert len(flagged) >= 20
        assert np.mean(flagged) >= least, [r.text for r in rows if not r.flagged]
    near = [r for r in NEAR_MISSES if (r.half, r.script) == (part, script)]
    assert len(near) >= 40
    assert np.mean([r.flagged for r in near]) <= 0.10, [r.text for r in near if r.flagged]


def test_sentences_written_after_the_rules_are_found() -> None:
    for script in SCRIPTS:
        rows = [r for r in EMERGENCIES if (r.half, r.script) == ("fresh", script)]
        near = [r for r in NEAR_MISSES if (r.half, r.script) == ("fresh", script)]
        assert np.mean([r.flagged for r in rows]) >= 0.75
        assert np.mean([r.flagged for r in near]) <= 0.10


def test_plain_emergencies_are_found() -> None:
    missed = [text for text in PLAIN if not find_red_flags(text)]
    assert len(missed) <= 0.03 * len(PLAIN), missed


def test_ordinary_questions_are_left_alone() -> None:
    alarmed = [text for text in ORDINARY if find_red_flags(text)]
    assert len(alarmed) <= 0.05 * len(ORDINARY), alarmed


@pytest.mark.parametrize("name", REWRITINGS)
def test_a_rewriting_keeps_what_was_found(name: str) -> None:
    change: Callable[[str], str] = REWRITINGS[name]
    changed = [text for text in FOUND if change(text) != text]
    assert len(changed) >= 5
    lost = [change(text) for text in changed if not find_red_flags(change(text))]
    assert len(lost) <= 0.1 * len(changed), lost[:9]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_preamble_keeps_what_was_found(prefix: str) -> None:
    lost = [text for text in FOUND if not find_red_flags(prefix + text)]
    assert len(lost) <= 0.02 * len(FOUND), lost


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("My chest hurts and my left arm is numb", "chest_pain"),
        ("I want to kill myself", "suicide_or_self_harm"),
        ("my face is drooping", "stroke"),
        ("I’m 8 weeks pregnant and bleeding", "pregnancy_emergency"),
        ("My 4 week old has a fever", "infant_fever"),
        ("我不想活了", "suicide_or_self_harm"),
        ("突然胸痛，左臂发麻", "chest_pain"),
        ("宝宝刚出生10天，发烧38度", "infant_fever"),
        ("I have had a cold for a week. Today I can't breathe.", "not_breathing_or_choking"),
        ("I don't have a fever but I have crushing chest pain", "chest_pain"),
        ("没有发烧，但是突然说话不清", "stroke"),
        ("What are the causes of my sudden chest pain?", "chest_pain"),
        ("the CO alarm is going off and we feel dizzy", "carbon_monoxide"),
        ("他热射病了，说胡话", "heat_or_cold"),
    ],
)
def test_flags_by_name(text: str, flag: str) -> None:
    assert flag in find_red_flags(text)


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("I have a history of depression and I want to kill myself", "suicide_or_self_harm"),
        ("I used to be a nurse. I want to kill myself.", "suicide_or_self_harm"),
        ("去年我离婚了。我想自杀。", "suicide_or_self_harm"),
        ("For my exam I need to relax, I want to die", "suicide_or_self_harm"),
        ("I'm writing a novel and I am going to stab my husband", "harm_to_others"),
        ("Last year was hard. I took 40 pills", "poisoning"),
        ("What is the antidote? I swallowed bleach", "poisoning"),
        ("医生说没事，可我刚喝了农药", "poisoning"),
    ],
)
def test_no_exclusion_reaches_self_harm_violence_or_poison_stated_as_present(
    text: str, flag: str
) -> None:
    assert flag in find_red_flags(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "\x00\ufffd",
        "I have no chest pain, no shortness of breath and no sweating",
        "He denies chest pain or pressure",
        "no chest pain, sweating, or trouble breathing",
        "没有胸痛，也没有呼吸困难",
        "我没有想自杀",
        "沒有胸痛",
        "今天累得想死",
        "No trouble breathing, just a cough",
        "What is the treatment of anaphylaxis?",
        "以下哪项不是脑卒中的表现：口角歪斜、言语不清、偏瘫",
        "I had a seizure years ago and have been fine since",
        "should I carry two EpiPens?",
        "where to fit a CO alarm?",
        "FAST = face drooping. Who invented it?",
    ],
)
def test_no_flags(text: str) -> None:
    assert find_red_flags(text) == ()


def test_a_long_text_is_read_to_its_end() -> None:
    filler = "The weather was fine and we went for a walk. " * 700
    assert find_red_flags(filler + "Now I can't breathe.")


def _milliseconds(text: str) -> float:
    """The least of three: what others do on this machine does not count."""
    times: list[float] = []
    for _ in range(3):
        started = time.process_time()
        find_red_flags(text)
        times.append(time.process_time() - started)
    return 1000 * min(times)


def test_four_thousand_characters_take_under_twenty_milliseconds_and_longer_texts_no_more_each() -> (
    None
):
    mixed = [row.text for pair in zip(EMERGENCIES, NEAR_MISSES, strict=False) for row in pair]
    told = "\n".join([*mixed, *ORDINARY])
    notes = [told[start : start + 4000] for start in range(0, len(told) - 4000, 1000)]
    find_red_flags(told[:4000])  # tables are read once
    assert np.percentile([_milliseconds(note) for note in notes], 95) < 20
    short, long = _milliseconds(told[:4000]), _milliseconds((told * 3)[:32000])
    assert long < 16 * max(short, 1.0)


@pytest.mark.parametrize(
    "text",
    ["chest " * 6000, "胸痛" * 15000, "no " * 9000, "a\n" * 9000, "&lt;" * 9000, "<" * 30000],
)
def test_no_text_takes_long(text: str) -> None:
    assert _milliseconds(text) < 250
