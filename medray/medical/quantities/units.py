"""Units of doses, laboratory values and vital signs: how they are written, and conversion by pint.

Only the words below are units. Capital letters do not make a megagram of a milligram: "5 MG" is 5 mg, as on charts.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from medray.medical.quantities.substances import Substance

_WORDS = {
    "kilogram": "kg kgs kilogram kilograms 千克 公斤",
    "gram": "g gm gms gram grams 克",
    "milligram": "mg mgs milligram milligrams 毫克",
    "microgram": "mcg ug μg µg microgram micrograms 微克",
    "nanogram": "ng nanogram nanograms 纳克",
    "picogram": "pg picogram picograms 皮克",
    "pound": "lb lbs pound pounds 磅",
    "ounce": "oz ounce ounces 盎司",
    "liter": "l liter liters litre litres 升 公升",
    "deciliter": "dl deciliter deciliters decilitre 分升",
    "milliliter": "ml cc milliliter milliliters millilitre millilitres 毫升",
    "microliter": "ul μl µl microliter microliters 微升",
    "femtoliter": "fl femtoliter femtoliters 飞升",
    "mole": "mol mole moles 摩尔",
    "millimole": "mmol millimole millimoles 毫摩尔 毫摩",
    "micromole": "umol μmol µmol micromole micromoles 微摩尔 微摩",
    "nanomole": "nmol nanomole nanomoles 纳摩尔",
    "picomole": "pmol picomole picomoles 皮摩尔",
    "equivalent": "eq",
    "milliequivalent": "meq milliequivalent milliequivalents 毫当量",
    "international_unit": "iu u unit units 国际单位 单位",
    "milliunit": "miu mu",
    "microunit": "uiu μiu µiu μu µu",
    "millimeter_Hg": "mmhg 毫米汞柱",
    "kilopascal": "kpa 千帕",
    "centimeter_H2O": "cmh2o 厘米水柱",
    "meter": "m meter meters metre metres 米",
    "centimeter": "cm centimeter centimeters 厘米 公分",
    "millimeter": "mm millimeter millimeters 毫米",
    "inch": "in inch inches 英寸",
    "foot": "ft foot feet 英尺",
    "second": "s sec secs second seconds 秒",
    "minute": "min mins minute minutes 分钟",
    "hour": "h hr hrs hour hours 小时",
    "millisecond": "ms msec millisecond milliseconds 毫秒",
    "day": "d day days 天 日",
    "week": "wk wks week weeks 周 星期",
    "month": "mo month months 个月 月",
    "year": "y yr yrs year years 年 岁",
    "degree_Celsius": "°c ℃ celsius 摄氏度",
    "degree_Fahrenheit": "°f ℉ fahrenheit 华氏度",
    "percent": "% percent percentage",
    "tablet": "tablet tablets tab tabs pill pills 片",
    "capsule": "capsule capsules cap caps 粒",
    "ampoule": "ampoule ampoules ampule vial vials 支",
    "drop": "drop drops gtt gtts 滴",
    "beat": "beat beats",
    "time": "time times 次",
    "osmole": "osm",
    "milliosmole": "mosm",
    "score_point": "point points 分",
    "calorie": "kcal kilocalorie kilocalories 千卡 大卡",
}
_POWERS = {
    "m2": "meter**2", "m3": "meter**3", "mm3": "millimeter**3", "cm3": "centimeter**3",
    "mm2": "millimeter**2", "cm2": "centimeter**2",
}  # fmt: skip
NAMES = {word: name for name, words in _WORDS.items() for word in words.split()} | _POWERS
NAMES |= {"bpm": "beat/minute", "次/分": "time/minute"}
_OWN = """
international_unit = [biological_activity]
milliunit = 1e-3 * international_unit
microunit = 1e-6 * international_unit
equivalent = [charge_amount]
milliequivalent = 1e-3 * equivalent
osmole = [osmotic_amount]
milliosmole = 1e-3 * osmole
tablet = [tablet]
capsule = [capsule]
ampoule = [ampoule]
drop = [drop]
beat = [beat]
time = [repetition]
score_point = [score]
"""


def _words() -> str:
    def pattern(word: str) -> str:
        end = "" if not word.isascii() or word.endswith("%") else r"(?![A-Za-z0-9])"
        return re.escape(word) + end

    return "|".join(pattern(word) for word in sorted(NAMES, key=len, reverse=True))


_ONE = rf"(?:{_words()})"
UNIT = rf"{_ONE}(?:\s*(?:/|·|\bper\b|每)\s*(?:1(?:\.73)?\s*)?{_ONE}){{0,3}}"
"""A unit in normalised text (NFKC), to be matched without regard to case."""
PER_VOLUME = r"/\s*(?:l|dl|ml|ul|μl|mm3|升)(?![A-Za-z0-9])"
"""A count per volume, such as 5 x 10^9/L."""
_PART = re.compile(rf"(/|·|\bper\b|每)?\s*(1\.73|1)?\s*({_ONE})", re.IGNORECASE)


@lru_cache(maxsize=4096)
def unit_of(text: str) -> str:
    """A unit as pint writes it, from text that `UNIT` matched: "毫克/天" is "milligram/day"."""
    found = "1" if text.startswith("/") else ""
    for sign, factor, word in _PART.findall(text):
        name = NAMES[word.casefold()]
        if sign in ("/", "per", "每") or sign.casefold() == "per":
            found += f"/{name}" if factor != "1.73" else f"/(1.73*{name})"
        else:
            found += f"*{name}" if found else name
    return found


@lru_cache(maxsize=4096)
def factor_between(
    unit: str, wanted: str, substance: Substance | None = None
) -> tuple[float, float] | None:
    """(a, b) such that x in `unit` is a * x + b in `wanted`; None where they measure different things.

    Amount, mass and charge of a known substance convert into each other.
    """
    if unit == wanted:
        return 1.0, 0.0
    registry = _registry()
    source, target = registry.Unit(unit), registry.Unit(wanted)
    if source.dimensionality == target.dimensionality:
        at_0, at_1 = (registry.Quantity(x, source).to(target).magnitude for x in (0.0, 1.0))
        return float(at_1 - at_0), float(at_0)
    if substance is None:
        return None
    for bridge in _bridges(registry, substance):
        for one in (bridge, 1 / bridge):
            changed = registry.Quantity(1.0, source) * one
            if changed.dimensionality == target.dimensionality:
                return float(changed.to(target).magnitude), 0.0
    return None


def _bridges(registry: Any, substance: Substance) -> list[Any]:
    mass = registry.Quantity(substance.molar_mass, "gram/mole")
    if not substance.valence:
        return [mass]
    charge = registry.Quantity(float(substance.valence), "equivalent/mole")
    return [mass, charge, mass / charge]


@cache
def _registry() -> Any:
    import pint

    registry = pint.UnitRegistry(on_redefinition="ignore", autoconvert_offset_to_baseunit=True)
    for line in _OWN.strip().splitlines():
        registry.define(line)
    return registry
