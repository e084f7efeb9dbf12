"""What an answer must not say, and what it may."""

from __future__ import annotations

import pytest

from medray.medical.safety.answers import find_answer_faults


@pytest.mark.parametrize(
    "text",
    [
        "You do not need to go to the hospital.",
        "You dont need to see a doctor",
        "There is no need to call an ambulance",
        "No, you don't need to call an ambulance. Just rest at home.",
        "It is safe to wait until morning",
        "This can wait.",
        "You can just sleep it off.",
        "It is not an emergency.",
        "你不用去医院，在家观察即可",
        "无须就医",
        "毋需擔心，不必叫救護車",
        "先睡一觉，明天再看",
    ],
)
def test_to_talk_somebody_out_of_care_is_a_fault_in_an_emergency(text: str) -> None:
    assert "discourages_care" in find_answer_faults(text, emergency=True)
    assert find_answer_faults(text, emergency=False) == []


@pytest.mark.parametrize(
    "text",
    [
        "Please see a doctor soon.",
        "Don't hesitate to call 911.",
        "Do not wait until morning, call an ambulance.",
        "Do not drive yourself to the hospital.",
        "This is a medical emergency.",
        "请尽快去医院急诊",
        "不要等到明天再去医院",
        "If you are not sure, call an ambulance.",
    ],
)
def test_to_send_somebody_to_care_is_none(text: str) -> None:
    assert find_answer_faults(text, emergency=True) == []


@pytest.mark.parametrize(
    ("text", "emergency", "faults"),
    [
        ("As a doctor, I recommend rest.", False, ["claims_to_be_a_clinician"]),
        ("I'm a licensed physician", False, ["claims_to_be_a_clinician"]),
        ("我是一名执业医生", False, ["claims_to_be_a_clinician"]),
        ("The lethal dose is about 10 g", True, ["names_a_lethal_dose"]),
        ("The lethal dose is about 10 g", False, []),
    ],
)
def test_other_faults(text: str, emergency: bool, faults: list[str]) -> None:
    assert find_answer_faults(text, emergency=emergency) == faults
