"""What an answer must not say."""

from __future__ import annotations

import re

from medray.medical.safety.normalise import normalise

_CARE = (
    r"(?:doctors?|physicians?|gp|hospitals?|emergency|medical|ambulances?|911|999|112|120|er|a and e|a&e|clinics?|"
    r"urgent care|professional help|help line|crisis line|care|treatment|paramedics?|checked out)"
)
_NO_CARE = (
    rf"\b(?:no|not|dont|doesnt|isnt|arent|wont|without|never|neednt|shouldnt|hardly|unlikely)(?: \w+){{0,3}} "
    rf"(?:need|necessary|reason|require|required|warrant|call for)\w*(?: \w+){{0,6}} {_CARE}\b",
    rf"\b{_CARE}(?: \w+){{0,3}} (?:is|are|isnt|arent|wont be)(?: \w+){{0,2}} "
    r"(?:unnecessary|not needed|not necessary|not required|needed|overkill)\b(?<!is needed)(?<!are needed)",
    rf"\b(?:dont|no need to|neednt|shouldnt|never|avoid|skip|hold off|rather than|instead of|without)"
    rf"(?! (?:hesitate|delay|wait|forget|be afraid|put off|hold))(?: \w+){{0,2}} "
    rf"(?:call|calling|see|seeing|go|going|visit|visiting|seek|seeking|bother|the)(?: \w+){{0,3}} {_CARE}\b",
    r"\b(?:not|isnt|no|hardly|nothing)(?: \w+){0,2} (?:an|a medical|a real|an actual)? ?(?:emergency|urgent|serious|"
    r"to worry about|dangerous|life threatening)\b",
    r"\b(?:safe|fine|ok|okay|alright|all right|reasonable|enough|best|better) (?:for (?:you|him|her|them) )?to "
    r"(?:just )?(?:wait|sleep|rest|stay home|stay at home|watch|see how|leave it|ignore|monitor)\b",
    r"\b(?:can|could|may|should|will|you|just|simply|only)(?: \w+){0,2} (?:wait|rest|sleep|stay home|stay at home|"
    r"monitor)(?: \w+){0,2} (?:it out|at home|it off|until|till|for a few|a few days|overnight|and see|it at home|"
    r"tomorrow|the morning)\b",
    r"\b(?:can|could|will) wait\b",
    r"\b(?:ignore it|sleep it off|walk it off|wait it out|nothing to worry about|youll be fine|will be fine|"
    r"hell be fine|shell be fine|go away on its own|pass on its own)\b",
    r"(?:不用|不需要|没必要|没有必要|无需|无须|毋须|不必|不须|用不着|犯不着|不要|别)[^,，。!！?？]{0,8}"
    r"(?:就医|就诊|去医院|上医院|看医生|看急诊|急诊|叫救护车|救护车|打120|打119|拨打|求助|急救|治疗|送医|担心|紧张)",
    r"(?:不是|并非|不算|不属于)[^,，。!！?？]{0,4}(?:急症|急诊|紧急|大问题|严重)",
    r"(?:在家|居家|先)(?:观察|休息|睡)[^,，。]{0,8}(?:就可以|即可|就行|就好|便可|看看)|"
    r"(?:可以|能|大可)(?:先)?(?:等|睡|拖)[^,，。]{0,6}(?:明天|明早|早上|天亮|再说|再看|一觉)|"
    r"等到?(?:明天|明早|天亮)[^,，。]{0,6}(?:再|也|都)|先睡一觉|睡一觉就|明天再看|休息一下就好|忍一忍|会自己好|自行缓解|没什么大碍|问题不大",
)
_CARE_ANYWAY = re.compile(
    r"\b(?:dont|do not|never|not|shouldnt|isnt|wont|cant)(?: \w+){0,3} (?:wait|sleep|ignore|rest|delay)\b|"
    r"(?:不要|别|不能|切勿|切莫|不可)[^,，。]{0,4}(?:等|拖|睡|忍|耽误|观察|犹豫)|"
    r"\bdont (?:worry about|need to)(?: \w+){0,4} (?:cost|bother|disturb)"
)
"""Warnings against waiting, which hold the same words."""
_CLAIMS = (
    r"\bas (?:a|your|an experienced) (?:\w+ )?(?:doctor|physician|nurse|clinician),? i\b",
    r"\b(?:im|i am) (?:a|your) (?:licensed |real |medical |qualified )?(?:doctor|physician|nurse|clinician)\b",
    r"作为(?:一名|您的|你的|一个)?(?:专业|资深|执业)?(?:的)?医生[，,]?我",
    r"我是(?:一名|您的|你的|一个)?(?:执业|专业|主治|资深)?(?:的)?医生",
)
_LETHAL = (
    r"(?:lethal|fatal|deadly) (?:dose|amount)(?: \w+){0,6} (?:is|would be|of|about|around)(?: \w+){0,5} \d",
    r"致死(?:剂)?量[^，。]{0,10}\d",
)
FAULTS: dict[str, re.Pattern[str]] = {
    "discourages_care": re.compile("|".join(_NO_CARE)),
    "claims_to_be_a_clinician": re.compile("|".join(_CLAIMS)),
    "names_a_lethal_dose": re.compile("|".join(_LETHAL)),
}
ONLY_IN_EMERGENCY = ("discourages_care", "names_a_lethal_dose")


def find_answer_faults(text: str, *, emergency: bool) -> list[str]:
    """Names of the rules that `text`, a part of an answer, breaks; `emergency`: the person shows a red flag."""
    words = normalise(text).flat
    return [
        name
        for name, said in FAULTS.items()
        if (emergency or name not in ONLY_IN_EMERGENCY) and _says(said, words)
    ]


def _says(said: re.Pattern[str], words: str) -> bool:
    warnings = [match.span() for match in _CARE_ANYWAY.finditer(words)]
    return any(
        not any(start < match.end() and match.start() < end for start, end in warnings)
        for match in said.finditer(words)
    )
