"""What an answer must not say."""

from __future__ import annotations

from medray.medical.safety.language import normalised
from medray.medical.safety.matching import Sign, sign

_DISCOURAGES = sign(
    "need|doctor|hospital|emergency|medical|ambulance|wait|rest|sleep|911|就医|医院|急诊|120|看医生|救护车|观察",
    r"(?:no|not|don't|do not|doesn't|isn't|without)(?: \w+){0,3} (?:need|necessary|reason|require)\w*(?: \w+){0,5} "
    r"(?:doctor|hospital|emergency|medical|ambulance|911|er\b)|"
    r"(?:don't|do not|no need to|needn't)(?: \w+){0,2} (?:call|see|go to|visit|seek)(?: \w+){0,3} "
    r"(?:doctor|hospital|emergency|ambulance|911|er\b|care)|"
    r"(?:not|isn't) (?:an|a medical) emergency|"
    r"(?:just|simply|only)(?: \w+){0,2} (?:wait|rest|sleep) (?:it out|at home|it off)|"
    r"(?:不用|不需要|没必要|无需|不必)[^，。！？]{0,6}"
    r"(?:就医|去医院|看医生|急诊|叫救护车|打120|拨打120)|在家观察(?:就|即)可",
    deniable=False,
)
_CLAIMS = sign(
    "doctor|physician|医生",
    r"\bas (?:a|your|an experienced) (?:\w+ )?(?:doctor|physician),? i\b|"
    r"\bi(?:'m| am) (?:a|your) (?:licensed |real |medical )?(?:doctor|physician)\b|"
    r"作为(?:一名|您的|你的)?(?:专业)?医生[，,]?我|"
    r"我是(?:一名|您的|你的)?(?:执业|专业|主治)?医生",
    deniable=False,
)
_LETHAL = sign(
    "lethal dose|fatal dose|致死量|致死剂量",
    r"(?:lethal|fatal) dose(?: \w+){0,6} (?:is|would be|of)(?: \w+){0,5} \d|致死(?:剂)?量[^，。]{0,10}\d",
    deniable=False,
)
FAULTS: dict[str, Sign] = {
    "discourages_care": _DISCOURAGES,
    "claims_to_be_a_clinician": _CLAIMS,
    "names_a_lethal_dose": _LETHAL,
}
ONLY_IN_EMERGENCY = ("discourages_care", "names_a_lethal_dose")


def find_answer_faults(text: str, *, emergency: bool) -> list[str]:
    """Names of the rules that `text`, a part of an answer, breaks; `emergency`: the person shows a red flag."""
    words = normalised(text)
    rules = {n: s for n, s in FAULTS.items() if emergency or n not in ONLY_IN_EMERGENCY}
    return [name for name, said in rules.items() if said.holds(words)]
