"""Measurements and ages that are signs in themselves: temperature, sugar, oxygen, a baby's age, a number of tablets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "a": 1, "couple": 2,
    "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10,
}  # fmt: skip
_NUMBER = r"(?<![\d.])(\d{1,4}(?:\.\d{1,2})?)"
_COUNT = r"(?<![\d.a-z])(\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_HAN_COUNT = r"(?<![\d.一二三四五六七八九十])(\d{1,3}|[一二两三四五六七八九]?十[一二三四五六七八九]?|[一二两三四五六七八九])"


def number(text: str) -> float:
    """The value of digits, an English word up to twelve, or a Chinese number below 100."""
    if text[0].isdigit():
        return float(text)
    if text in _WORDS:
        return _WORDS[text]
    tens, _, ones = text.partition("十")
    return (_WORDS[tens] if tens else 1) * 10 + (_WORDS[ones] if ones else 0)


BEFORE_CHARS, AFTER_CHARS = 40, 28
"""Text around a number that a measurement may reach into."""
_PLACE = re.compile(
    r"\d|[一二两三四五六七八九十][天日周个星礼颗片粒丸多半]|"
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)[- ]"
)


class _Measure(NamedTuple):
    concept: str
    pattern: re.Pattern[str]
    holds: Callable[[float], bool]


_WEEKS_ENGLISH = r"[- ]?(?:weeks?|wks?|w)\b"
_MEASURES = (
    _Measure("fever", re.compile(_NUMBER + r" ?(?:c\b|°|度|℃|celsius|degrees)"), lambda n: 38 <= n <= 43),
    _Measure("fever", re.compile(_NUMBER + r" ?(?:f\b|°|fahrenheit|degrees|\b)"), lambda n: 100.4 <= n <= 107),
    _Measure("fever", re.compile(r"(?:temperature|thermometer|fever|体温|温度|烧|量了?|量体温)[^.!?。\n]{0,18}?" + _NUMBER), lambda n: 38 <= n <= 43 or 100.4 <= n <= 108),
    _Measure("fever_very_high", re.compile(_NUMBER + r" ?(?:c\b|°|度|℃|celsius|degrees|多度)"), lambda n: 40 <= n <= 44 or 104 <= n <= 110),
    _Measure("fever_very_high", re.compile(r"(?:temperature|体温|温度)[^.!?。\n]{0,18}?" + _NUMBER), lambda n: 40 <= n <= 44 or 104 <= n <= 110),
    _Measure("fever_100", re.compile(r"(?:fever|temperature|thermometer)[^.!?。\n]{0,18}?" + _NUMBER), lambda n: 100 <= n < 100.4),
    _Measure("body_cold_value", re.compile(r"(?:temperature|thermometer|体温|温度|量)[^.!?。\n]{0,18}?" + _NUMBER), lambda n: 24 <= n <= 35.2 or 75 <= n <= 95),
    _Measure("body_cold_value", re.compile(_NUMBER + r" ?on the thermometer"), lambda n: 24 <= n <= 35.2 or 75 <= n <= 95),
    _Measure("sugar_low_value", re.compile(r"(?:sugars?|glucose|bg|血糖)[^.!?。\n\d]{0,24}?" + _NUMBER), lambda n: 0.5 <= n <= 3 or 15 <= n <= 55),
    _Measure("sugar_high_value", re.compile(r"(?:sugars?|glucose|bg|血糖)[^.!?。\n\d]{0,24}?" + _NUMBER), lambda n: 16.5 <= n < 35 or 350 <= n <= 1500),
    _Measure("oxygen_low_value", re.compile(r"(?:oxygen|o2|spo2|sats?|saturation|oximeter|pulse ox|血氧|氧饱和度?)[^.!?。\n\d]{0,20}?" + _NUMBER), lambda n: 50 <= n <= 91),
    _Measure("heart_very_fast", re.compile(r"(?:heart|pulse|心跳|心率)[^.!?。\n\d]{0,24}?" + _NUMBER), lambda n: 150 <= n <= 260),
    _Measure("pressure_very_high", re.compile(_NUMBER + r" ?(?:/|over) ?1[1-9]\d"), lambda n: 180 <= n <= 280),
    _Measure("newborn", re.compile(_COUNT + r"[- ]?(?:days?|d)[- ]?(?:old|o\b)"), lambda n: n <= 90),
    _Measure("newborn", re.compile(_COUNT + r"[- ]?(?:weeks?|wks?|w|week)[- ]?(?:old|o\b)"), lambda n: n <= 12),
    _Measure("newborn", re.compile(r"(?:\blo|baby|newborn|infant|son|daughter|(?:he|she|hes|shes)) (?:is |at |only |just |now ){0,2}" + _COUNT + r" ?(?:weeks?|days?)\b"), lambda n: n <= 12),
    _Measure("newborn", re.compile(_COUNT + r"[- ]?(?:months?|mo|mth|mths)[- ]?(?:old|o\b)"), lambda n: n <= 3),
    _Measure("newborn", re.compile(_HAN_COUNT + r"(?:天|日)(?:大|龄|的(?:宝|婴|娃|孩|小))"), lambda n: n <= 90),
    _Measure("newborn", re.compile(r"(?:出生|生下来|宝宝|我家宝|宝贝|娃|婴儿|孩子|女儿|儿子|bb)才?(?:刚)?" + _HAN_COUNT + r"(?:天|周|个?星期|个?礼拜)"), lambda n: n <= 60),
    _Measure("newborn", re.compile(_HAN_COUNT + r"(?:周|个?星期|个?礼拜)(?:大|龄|的(?:宝|婴|娃|孩|小))"), lambda n: n <= 12),
    _Measure("newborn", re.compile(_HAN_COUNT + r"个(?:多|半)?月(?:大|龄|的)?(?:的)?(?:宝|婴|娃|孩|小|儿|女|bb)"), lambda n: n <= 3),
    _Measure("newborn", re.compile(r"(?:宝宝|我家宝|娃|婴儿|孩子|女儿|儿子)才?(?:刚)?" + _HAN_COUNT + r"个(?:多|半)?月"), lambda n: n <= 3),
    _Measure("pregnant", re.compile(r"(?:im |at |now |hit |only )?" + _COUNT + _WEEKS_ENGLISH + r"(?![- ](?:old|ago|of|later|post|since|now|before))"), lambda n: 20 <= n <= 42),
    _Measure("pregnant", re.compile(_HAN_COUNT + r"周(?!年|岁|大|龄|末|前|后|的)"), lambda n: 5 <= n <= 42),
    _Measure("pregnant", re.compile(_HAN_COUNT + r"个多?月(?=[^。]{0,8}(?:胎|孕|肚))"), lambda n: 4 <= n <= 10),
    _Measure("quantity", re.compile(_COUNT + r" ?(?:[a-z]+ ){0,3}?(?:pills?|tablets?|tabs|capsules?|caps|paracetamols?|tylenols?|ibuprofens?|aspirins?|xanax|benadryls?|sleeping|mg tablets|of them|of my)"), lambda n: n >= 7),
    _Measure("quantity", re.compile(_HAN_COUNT + r"(?:多|几)?(?:片|颗|粒|丸|粒药|个药)"), lambda n: n >= 7),
    _Measure("quantity", re.compile(r"(?:took|swallowed|taken|downed|ate) (?:about |like |around |at least )?" + _COUNT + r"(?! ?(?:mg|ml|days?|weeks?|hours?|minutes?|years?|times|months?|am|pm|o))"), lambda n: n >= 12),
)  # fmt: skip
_WITHOUT_HAN = tuple(measure for measure in _MEASURES if _HAN_COUNT not in measure.pattern.pattern)
"""Those that can match where no Han character is: after a Chinese number comes a Chinese unit."""


def measured(flat: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and concept of each measurement in a normalised text that is a sign."""
    for start, end in _windows(flat):
        window = flat[start:end]
        for concept, pattern, holds in _WITHOUT_HAN if window.isascii() else _MEASURES:
            for match in pattern.finditer(window):
                if holds(number(match.group(1))):
                    yield start + match.start(), start + match.end(), concept


def _windows(flat: str) -> Iterator[tuple[int, int]]:
    """Stretches around numbers, which is where measurements are."""
    start = end = 0
    for match in _PLACE.finditer(flat):
        first = max(0, match.start() - BEFORE_CHARS)
        if first > end:
            if end:
                yield start, end
            start = first
        end = match.end() + AFTER_CHARS
    if end:
        yield start, min(end, len(flat))
