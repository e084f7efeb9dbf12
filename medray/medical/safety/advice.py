"""What is said to the person: advice by red flag, corrections of answers, the disclaimer."""

from __future__ import annotations

from collections.abc import Sequence

from medray.medical.safety.language import LANGUAGES, Language

_CRISIS = ("suicide_or_self_harm", "harm_to_others")
_POISON = "poisoning"
_GAS = "carbon_monoxide"

_EMERGENCY: dict[Language, str] = {
    "en": "⚠️ What you describe can be a medical emergency. Call your local emergency number now (911, 112, 999 or "
    "120) or go to the nearest emergency department. Do not wait for an answer here, and do not drive yourself.",
    "zh": "⚠️ 您描述的情况可能是急症。请立即拨打当地急救电话（中国大陆 120），"
    "或马上去最近的急诊科。"
    "不要等待这里的回答，也不要自己开车前往。",
}
_SELF_HARM: dict[Language, str] = {
    "en": "⚠️ I am concerned about your safety. If you or someone else is in immediate danger, call your "
    "local emergency number now (911, 112, 999 or 110). You can talk to someone at any hour: in the US and "
    "Canada call or text 988, in the UK and Ireland call 116 123, in mainland China call 12356. Please stay "
    "with somebody you trust, and move away from anything that could be used to cause harm.",
    "zh": "⚠️ 我很担心您的安全。如果您或他人正处于危险之中，请立即拨打 110 或 120。"
    "您随时可以找人倾诉：全国统一心理援助热线 12356。"
    "请和您信任的人待在一起，并远离可能造成伤害的物品。",
}
_POISONING: dict[Language, str] = {
    "en": "Do not make the person vomit unless a professional says so. Keep the package, and tell them what was taken, "
    "how much and when. Poison centres: 1-800-222-1222 in the US.",
    "zh": "没有专业人员的指示不要催吐。请保留包装，并告诉医务人员吃了什么、多少、什么时候。",
}
_CARBON_MONOXIDE: dict[Language, str] = {
    "en": "Get everybody out into fresh air first. Do not go back inside.",
    "zh": "请先让所有人到室外呼吸新鲜空气，不要再回屋内。",
}
DISCLAIMER: dict[Language, str] = {
    "en": "This is general information from a language model, not a diagnosis or a prescription. A clinician who can "
    "examine you should decide about care.",
    "zh": "以上内容由语言模型生成，仅供参考，不是诊断或处方。请由能为您做检查的医生决定如何诊治。",
}
CORRECTION: dict[Language, dict[str, str]] = {
    "en": {
        "discourages_care": "⚠️ Correction: disregard any statement above that care is not needed. With the symptoms "
        "you describe, seek medical care now.",
        "claims_to_be_a_clinician": "⚠️ Correction: this answer was written by a language model, not by a doctor.",
        "names_a_lethal_dose": "⚠️ If you are thinking of taking more than is prescribed, call your local emergency "
        "number or a crisis line now.",
    },
    "zh": {
        "discourages_care": "⚠️ 更正：请忽略上文中“不需要就医”的说法。根据您描述的症状，请立即就医。",
        "claims_to_be_a_clinician": "⚠️ 更正：以上回答由语言模型生成，并非医生本人所写。",
        "names_a_lethal_dose": "⚠️ 如果您想服用超过处方的剂量，请立即拨打急救电话或心理援助热线。",
    },
}


def advice(red_flags: Sequence[str], language: Language) -> str:
    """The advice for these red flags, in the person's language."""
    parts: list[str] = []
    if any(flag in _CRISIS for flag in red_flags):
        parts.append(_SELF_HARM[language])
    if any(flag not in _CRISIS for flag in red_flags):
        parts.append(_EMERGENCY[language])
    if _POISON in red_flags:
        parts.append(_POISONING[language])
    if _GAS in red_flags:
        parts.append(_CARBON_MONOXIDE[language])
    return "\n\n".join(parts)


def without_additions(text: str) -> str:
    """An earlier answer as the model wrote it: it must not learn advice and disclaimer from its own history."""
    for language in LANGUAGES:
        fixed = (_EMERGENCY, _SELF_HARM, _POISONING, _CARBON_MONOXIDE, DISCLAIMER)
        for part in (*(table[language] for table in fixed), *CORRECTION[language].values()):
            text = text.replace(part, "")
    return text.strip("\n")
