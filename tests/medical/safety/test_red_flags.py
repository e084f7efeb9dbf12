"""How many emergencies the rules find, how many ordinary questions they leave alone, and in what time."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from medray.medical.safety import red_flags_en, red_flags_zh
from medray.medical.safety.answers import find_answer_faults
from medray.medical.safety.language import language_of, normalised
from medray.medical.safety.matching import Sign, denied
from medray.medical.safety.red_flags import find_red_flags

HERE = Path(__file__).parent
EMERGENCIES = (HERE / "emergencies.txt").read_text(encoding="utf-8").splitlines()
ORDINARY = (HERE / "ordinary.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_recall_and_over_triage(language: str) -> None:
    emergencies = [text for text in EMERGENCIES if language_of(text) == language]
    ordinary = [text for text in ORDINARY if language_of(text) == language]
    assert min(len(emergencies), len(ordinary)) >= 70
    missed = [text for text in emergencies if not find_red_flags(text)]
    alarmed = [text for text in ordinary if find_red_flags(text)]
    assert len(missed) <= 0.05 * len(emergencies), missed
    assert len(alarmed) <= 0.10 * len(ordinary), alarmed


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("My chest hurts and my left arm is numb", "chest_pain"),
        ("ＭＹ ＣＨＥＳＴ ＨＵＲＴＳ and I’m sweating", "chest_pain"),
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
    ],
)
def test_flags_by_name(text: str, flag: str) -> None:
    assert flag in find_red_flags(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "I have no chest pain, no shortness of breath and no sweating",
        "He denies chest pain or pressure",
        "没有胸痛，也没有呼吸困难",
        "今天累得想死",
        "No trouble breathing, just a cough",
        "What is the treatment of anaphylaxis?",
        "以下哪项不是脑卒中的表现：口角歪斜、言语不清、偏瘫",
        "I had a seizure years ago and have been fine since",
        "\x00\ufffd",
    ],
)
def test_no_flags(text: str) -> None:
    assert find_red_flags(text) == ()


def test_every_match_contains_a_literal_that_leads_to_it() -> None:
    for module in (red_flags_en, red_flags_zh):
        for name, sign in vars(module).items():
            for text in (
                map(normalised, (*EMERGENCIES, *ORDINARY)) if isinstance(sign, Sign) else ()
            ):
                match = sign.pattern.search(text)
                assert match is None or any(x in match.group() for x in sign.literals), (name, text)


def test_both_languages_know_the_same_flags() -> None:
    assert list(red_flags_en.RED_FLAGS) == list(red_flags_zh.RED_FLAGS)


def test_denial_ends_with_its_clause() -> None:
    assert denied("i have no chest pain", 10)
    assert not denied("i have no fever. chest pain", 17)
    assert not denied("没有发烧，但是胸痛", 7)


def test_a_long_text_is_read_to_its_end() -> None:
    filler = "The weather was fine and we went for a walk. " * 700
    assert find_red_flags(filler + "Now I can't breathe.")


def test_ninety_five_percent_of_requests_take_under_twenty_milliseconds() -> None:
    notes = [" ".join(EMERGENCIES[i : i + 60]) for i in range(0, 90, 10)]  # about 4,000 characters
    texts = [*EMERGENCIES, *ORDINARY, *notes, *("chest " * 5000, "胸痛" * 5000, "no " * 9000)]
    seconds: list[float] = []
    for text in texts:
        started = time.process_time()  # what others do on this machine does not count
        find_red_flags(text)
        seconds.append(time.process_time() - started)
    assert np.percentile(seconds, 95) < 0.020


@pytest.mark.parametrize(
    ("text", "emergency", "faults"),
    [
        ("You do not need to go to the hospital.", True, ["discourages_care"]),
        ("There is no need to call an ambulance", True, ["discourages_care"]),
        ("你不用去医院，在家观察即可", True, ["discourages_care"]),
        ("You do not need to see a doctor for a mild cold.", False, []),
        ("As a doctor, I recommend rest.", False, ["claims_to_be_a_clinician"]),
        ("我是一名执业医生", False, ["claims_to_be_a_clinician"]),
        ("The lethal dose is about 10 g", True, ["names_a_lethal_dose"]),
        ("Please see a doctor soon.", True, []),
        ("请尽快去医院急诊", True, []),
    ],
)
def test_faults_of_answers(text: str, emergency: bool, faults: list[str]) -> None:
    assert find_answer_faults(text, emergency=emergency) == faults
