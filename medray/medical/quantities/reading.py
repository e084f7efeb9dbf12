"""Numbers with their units in a text."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from medray.medical.quantities.numerals import digits_for_words
from medray.medical.quantities.units import PER_VOLUME, UNIT, unit_of

MAX_CHARS = 20_000
"""Longer texts are read from their last `MAX_CHARS` characters: an answer comes last."""
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_POWER_OF_TEN = re.compile(r"(?<=10)([⁻⁺]?[⁰¹²³⁴-⁹]+)")
_VULGAR = re.compile(r"(\d)(?=[½⅓⅔¼¾⅕⅛])")
_MIXED = re.compile(r"(?<![\d./])(\d{1,3})\s+([1-9])/([2-9])(?![\d/])")  # 2 1/2
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s*\{([^{}]*)\}")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([-+\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}")
_LATEX_SIGNS = re.compile(r"\\(?:[,;:! ]|quad|left|right)|[$*`]|\\[()\[\]]|</?\w+>")
_NUMBER = (
    r"(?P<sign>[-+]?)(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d])|\d+(?:\.\d+)?|\.\d+)"
    r"(?:/(?P<below>\d+(?:\.\d+)?)(?![\d/]))?"
    r"(?:[eE](?P<e>[-+]?\d{1,3})(?![\d])|\s*(?:[x×·]|\\times|\\cdot)\s*10\s*\^?\s*\{?(?P<ten>[-+]?\d{1,3})\}?)?"
)
_QUANTITY = re.compile(
    rf"(?<![A-Za-z0-9_.]){_NUMBER}(?P<between>[\s~]*-?\s*)(?P<unit>{UNIT}|{PER_VOLUME})?",
    re.IGNORECASE,
)
_BARE_POWER = re.compile(
    r"(?P<times>(?:[x×·]|\\times|\\cdot)\s*)?(?<![\d.])10\s*\^\s*\{?(?P<ten>[-+]?\d{1,2})\}?",
    re.IGNORECASE,
)
_AREA = re.compile(r"\b(m|cm|mm)\s*\^\s*\{?([23])\}?")
_RANGE = re.compile(rf"\s*(?:{UNIT})?\s*(?:-|–|—|~|to|至|到)\s*", re.IGNORECASE)
_JOINED = re.compile(r"(?:[\d)%]\s*|[A-Za-z])\Z")
"""Before a dash that joins two things and is no sign."""
_DENIED = re.compile(
    r"(?:\bnot|n't|\brather than|\binstead of|\bnever|不是|不应|并非|而非|不能是|不等于)\s*(?:be\s+|the\s+)?\Z",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, its unit as pint writes it ("" where none is written), and where it stands in the normalised text."""

    value: float
    unit: str = ""
    start: int = 0
    end: int = 0
    is_range: bool = False
    """One end of "5 to 10 mg"."""
    is_denied: bool = False
    """After "not" or "rather than"."""


def normalised(text: str) -> str:
    """Full-width and LaTeX forms, superscripts and number words as plain digits and units."""
    text = text[-MAX_CHARS:]
    text = _POWER_OF_TEN.sub(lambda m: "^" + m[1].translate(_SUPERSCRIPTS), text)
    text = _VULGAR.sub(r"\1 ", text)
    text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("\\%", "%")
    text = _MIXED.sub(lambda m: f"{int(m[1]) + int(m[2]) / int(m[3]):.12g}", text.replace("⁄", "/"))
    text = _LATEX_FRACTION.sub(r"\1/\2", _LATEX_TEXT.sub(r" \1", text))
    text = _LATEX_SIGNS.sub(" ", text)
    text = _BARE_POWER.sub(lambda m: m[0] if m["times"] else f"1 x 10^{m['ten']}", text)
    text = _AREA.sub(r"\1\2", text)
    return digits_for_words(text)


def find_quantities(text: str) -> list[Quantity]:
    """Numbers of normalised text in their order. Of blood pressures such as 120/80 mmHg, none."""
    found = list(_scan(text))
    for i, (one, two) in enumerate(itertools.pairwise(found)):
        if _RANGE.fullmatch(text, one.end, two.start):
            found[i], found[i + 1] = replace(found[i], is_range=True), replace(two, is_range=True)
    return found


def _scan(text: str) -> Iterator[Quantity]:
    for match in _QUANTITY.finditer(text):
        unit = unit_of(match["unit"]) if match["unit"] else ""
        if match["below"] and (unit == "millimeter_Hg" or float(match["below"]) == 0):
            continue
        start, sign = match.start(), match["sign"]
        if sign and _JOINED.search(text[max(0, start - 8) : start]):
            sign, start = "", start + 1
        value = float(match["digits"].replace(",", ""))
        value /= float(match["below"] or 1)
        value *= 10.0 ** int(match["e"] or match["ten"] or 0)
        end = match.end("unit") if unit else match.start("between")
        is_denied = bool(_DENIED.search(text[max(0, start - 24) : start]))
        yield Quantity(-value if sign == "-" else value, unit, start, end, is_denied=is_denied)
