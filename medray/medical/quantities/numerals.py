"""Number words to digits, English and Chinese: "one and a half tablets" is "1.5 tablets", "两片半" is "2.5片"."""

from __future__ import annotations

import re

import cn2an

from medray.medical.quantities.units import UNIT

_NAMES_TO_19 = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_ONES = _NAMES_TO_19.split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_SMALL = {word: i for i, word in enumerate(_ONES)} | {w: 10 * i for i, w in enumerate(_TENS, 2)}
_LARGE = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_PARTS = {"half": "0.5", "third": "1/3", "quarter": "0.25", "fifth": "0.2", "tenth": "0.1"}
_WORD = "|".join([*_SMALL, *_LARGE])
_ENGLISH = re.compile(
    rf"\b(?:(?:{_WORD})\b(?:[\s-]+(?:and\s+)?(?=(?:{_WORD})\b)|\s+(?=point\b)|(?=\W|\Z)))+"
    rf"(?:point((?:\s+(?:{'|'.join(_ONES[:10])})\b)+))?",
    re.IGNORECASE,
)
_COUNT = rf"\d+|{'|'.join(_ONES[1:11])}"
_AND_A_HALF = re.compile(
    rf"\b({_COUNT})\s+(?:and|&)\s+(?:a|one|1)[\s-]+({'|'.join(_PARTS)})\b", re.I
)
_A_PART = re.compile(rf"\b(a|{_COUNT})[\s-]+({'|'.join(_PARTS)})s?\b(?:\s+of(?:\s+an?\b)?)?", re.I)
_HALF_A = re.compile(r"\bhalf\s+(?:of\s+)?an?\s+", re.IGNORECASE)
_DIGITS = "零〇一二两三四五六七八九十百千万亿"
_CHINESE = re.compile(
    rf"(?:[{_DIGITS}]|\d+(?:\.\d+)?(?=[百千万亿]))(?:[{_DIGITS}]|\d+(?=[百千万亿]))*(?:点[零〇一二三四五六七八九]+)?"
)
_PERCENT = re.compile(rf"百分之([{_DIGITS}点]+|\d+(?:\.\d+)?)")
_FRACTION = re.compile(rf"([{_DIGITS}]+|\d+)分之([{_DIGITS}]+|\d+)")
_ZH_N_AND_HALF = re.compile(rf"([{_DIGITS}]+|\d+)(?:个半(?={UNIT}|月)|({UNIT})半)", re.IGNORECASE)
_ZH_HALF = re.compile(rf"(?<!\d)(?:一)?半(?:个)?(?={UNIT})", re.IGNORECASE)
_IS_COUNTED = re.compile(rf"\s*(?:个)?(?:{UNIT}|[。，,.;；!！、)）]|\Z)", re.IGNORECASE)
_VERY = re.compile("十分[一-鿿]")
_ASKED = re.compile(r"(?:是|为|約|约|等于|[:=：≈])\s*\Z")


def digits_for_words(text: str) -> str:
    """The text with its number words as digits; words that only look like numbers ("一般", "no one") stay."""
    return _chinese(_english(text))


def _english(text: str) -> str:
    text = _AND_A_HALF.sub(lambda m: f"{_count(m[1]) + _share(m[2]):g}", text)
    text = _A_PART.sub(lambda m: f"{_count(m[1]) * _share(m[2]):.12g}", text)
    text = _HALF_A.sub("0.5 ", text)
    return _ENGLISH.sub(lambda m: _english_number(m, text), text)


def _english_number(match: re.Match[str], text: str) -> str:
    words = [w for w in re.split(r"[\s-]+", match[0].casefold().partition("point")[0]) if w]
    if words == ["one"] and not match[1]:
        after = text[match.end() :].lstrip(" -")
        if not re.match(UNIT, after, re.IGNORECASE):
            return match[0]  # a pronoun
    if all(word in _LARGE for word in words):
        return match[0]
    total = current = 0
    for word in words:
        if word in _SMALL:
            current += _SMALL[word]
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _LARGE:
            total, current = total + max(current, 1) * _LARGE[word], 0
    decimals = "".join(str(_SMALL[w.casefold()]) for w in (match[1] or "").split())
    space = match[0][len(match[0].rstrip()) :]
    return f"{total + current}{f'.{decimals}' if decimals else ''}{space}"


def _share(word: str) -> float:
    above, _, below = _PARTS[word.casefold()].partition("/")
    return float(above) / float(below or 1)


def _count(word: str) -> int:
    return int(word) if word.isdigit() else 1 if word.casefold() == "a" else _SMALL[word.casefold()]


def _chinese(text: str) -> str:
    text = _PERCENT.sub(lambda m: f"{_arabic(m[1])}%", text)
    text = _FRACTION.sub(lambda m: f"{_arabic(m[2])}/{_arabic(m[1])}", text)
    text = _ZH_N_AND_HALF.sub(lambda m: f"{_arabic(m[1])}.5{m[2] or ''}", text)
    text = _ZH_HALF.sub("0.5", text)
    return _CHINESE.sub(lambda m: _chinese_number(m, text), text)


def _chinese_number(match: re.Match[str], text: str) -> str:
    if _VERY.match(text, match.start()):
        return match[0]
    if (
        len(match[0]) > 1
        and match[0].endswith("千")
        and text[match.end() : match.end() + 1] in "克帕卡米"
    ):
        return f"{_arabic(match[0][:-1])}千"  # 千克 and the like are units
    if not _IS_COUNTED.match(text, match.end()) or (
        len(match[0]) == 1 and not _says_amount(match, text)
    ):
        return match[0]
    return _arabic(match[0])


def _says_amount(match: re.Match[str], text: str) -> bool:
    """Whether a single character is a number: a unit follows, or the text asks for one right before."""
    after = re.match(rf"(?:个)?{UNIT}", text[match.end() :], re.IGNORECASE)
    return bool(after or _ASKED.search(text, 0, match.start()) or not text[: match.start()].strip())


def _arabic(text: str) -> str:
    """A Chinese number in digits; the text itself where it is none."""
    try:
        value = cn2an.cn2an(text, "smart")
    except (ValueError, KeyError, IndexError):
        return text
    return f"{value:.12g}"
