"""Which emergency red flags a person's words show."""

from __future__ import annotations

import re

from medray.medical.safety import red_flags_en, red_flags_zh
from medray.medical.safety.language import normalised

_HAN = re.compile(r"[\u4e00-\u9fff]")
_PERSONAL = re.compile(
    r"\b(?:i|i'm|i've|i'd|i'll|me|my|we|our|us|myself)\b|我|俺|咱|家里人|急急|救命|怎么办|要不要去|要去医院吗|该怎么"
)
_STUDY = re.compile(
    r"which of the following|most likely (?:diagnosis|cause)|next (?:best )?step|\b(?:what|which) (?:is|are) (?:the )?"
    r"(?:typical |common |main |early |warning |first |usual |classic |key )?(?:symptoms?|signs?|causes?|treatments?|definition|"
    r"difference|mechanism|risk factors?|pathophysiology|prognosis|management|criteria|guidelines?|name|icd|code)|"
    r"\b(?:define|explain|describe|summari[sz]e|translate|list|compare|write|draft|classify|outline)\b|"
    r"\bwhat (?:causes|does|happens|triggers|should (?:be in|a first aid))|\bhow (?:is|are|does|do|common|can) (?!i\b)|"
    r"(?:year|month|week|day)-old (?:man|woman|male|female|boy|girl|patient|infant)|\b(?:patients?|study|associated with|efficacy|surgeons?|trial|paper|essay|exam|lecture|"
    r"students?|novel|story|film|movie|documentary|article|guideline|history class|prevent\w*)\b|"
    r"什么是|是什么(?!病|情况|问题|原因)|(?:有哪些|有什么)(?:症状|表现|原因|区别|类型|危险因素|治疗|检查|药物|并发症)|有些什么|是多少|的(?:辅助治疗|患病比例|患病率|日常护理|症状|定义|机制|病因|发病率|诊断标准|治疗原则|治疗|原理|区别|英文|预防|鉴别)|"
    r"下列|以下哪|单选|多选|患者[，,]?[男女]|病例|翻译|解释|简述|写一篇|论文|科普|如何预防|怎么预防|怎样预防|试述|名词解释|考试|指南"
)
_PAST = re.compile(
    r"\b(?:years? ago|last year|as a child|when i was (?:young|a (?:kid|child|teenager))|in (?:19|20)\d\d|recovered|had a (?:mild )?(?:stroke|heart attack|"
    r"seizure) (?:years|in)|history of|family history|months ago|used to)\b|(?:[\d一二两三四五六七八九十几]+年|个月)前|去年|前年|小时候|以前得过|病史|家族史|曾经|康复|已经好了|恢复期"
)
_NOW = re.compile(
    r"\b(?:now|right now|today|tonight|just|suddenly|again|still|since (?:this )?(?:morning|yesterday|last night)|this (?:morning|evening|afternoon)|"
    r"minutes|hours?|currently|help|at the moment|keeps?)\b|现在|今天|今晚|刚才|刚刚|突然|又|还在|昨晚|早上|分钟|小时|救命|一直"
)


def find_red_flags(text: str) -> tuple[str, ...]:
    """Names of the red flags in `text`, the most urgent first; empty for ordinary questions.

    A question about an illness in general ("what are the symptoms of stroke?"), an exam vignette, and what was long ago
    are no emergencies; words about oneself or about what happens now are.
    """
    words = normalised(text)
    tables = [red_flags_en.RED_FLAGS]
    if _HAN.search(words):
        tables = [red_flags_zh.RED_FLAGS, red_flags_en.RED_FLAGS]
    found = [
        name
        for name in red_flags_en.RED_FLAGS
        if any(all(s.holds(words) for s in row) for table in tables for row in table[name])
    ]
    return tuple(found) if found and not _is_remote(words) else ()


def _is_remote(words: str) -> bool:
    """The words are about illness in general, about an exam's patient, or about the past."""
    if _STUDY.search(words) and not _PERSONAL.search(words):
        return True
    return bool(_PAST.search(words)) and not _NOW.search(words)
