"""Molar masses and valences of what laboratories measure, to convert mmol/L, mg/dL and mEq/L.

Values in g/mol. Urea nitrogen counts the two nitrogen atoms; triglycerides are triolein by convention. Source: AMA
Manual of Style, SI conversion factors; IUPAC standard atomic weights.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Substance:
    """What is measured: molar mass in g/mol, and charge in mEq per mmol."""

    molar_mass: float
    valence: int = 0


SUBSTANCES: dict[str, Substance] = {
    "glucose": Substance(180.156),
    "creatinine": Substance(113.12),
    "urea": Substance(60.056),
    "urea nitrogen": Substance(28.014),
    "uric acid": Substance(168.11),
    "cholesterol": Substance(386.65),
    "triglycerides": Substance(885.4),
    "bilirubin": Substance(584.66),
    "calcium": Substance(40.078, 2),
    "magnesium": Substance(24.305, 2),
    "phosphorus": Substance(30.974),
    "sodium": Substance(22.990, 1),
    "potassium": Substance(39.098, 1),
    "chloride": Substance(35.453, 1),
    "bicarbonate": Substance(61.017, 1),
    "lithium": Substance(6.94, 1),
    "lactate": Substance(90.08, 1),
    "ammonia": Substance(17.031),
    "iron": Substance(55.845),
    "ethanol": Substance(46.068),
    "cortisol": Substance(362.46),
    "thyroxine": Substance(776.87),
    "vitamin b12": Substance(1355.37),
    "folate": Substance(441.40),
    "25-hydroxyvitamin d": Substance(400.64),
    "testosterone": Substance(288.42),
    "digoxin": Substance(780.94),
    "theophylline": Substance(180.164),
    "paracetamol": Substance(151.163),
    "salicylate": Substance(138.12),
    "phenytoin": Substance(252.268),
    "carbamazepine": Substance(236.269),
    "valproate": Substance(144.211),
    "vancomycin": Substance(1449.25),
}
_NAMES: dict[str, str] = {
    **{name: name for name in SUBSTANCES},
    "blood urea nitrogen": "urea nitrogen", "bun": "urea nitrogen", "ldl": "cholesterol", "hdl": "cholesterol",
    "triglyceride": "triglycerides", "phosphate": "phosphorus", "acetaminophen": "paracetamol", "urate": "uric acid",
    "血糖": "glucose", "葡萄糖": "glucose", "肌酐": "creatinine", "尿素氮": "urea nitrogen", "尿素": "urea",
    "尿酸": "uric acid", "胆固醇": "cholesterol", "甘油三酯": "triglycerides", "胆红素": "bilirubin", "血钙": "calcium",
    "血镁": "magnesium", "血磷": "phosphorus", "血钠": "sodium", "血钾": "potassium", "血氯": "chloride",
    "碳酸氢根": "bicarbonate", "乳酸": "lactate", "血氨": "ammonia",
}  # fmt: skip
_MENTION = re.compile(
    "|".join(
        rf"(?<![a-z]){re.escape(name)}(?![a-z])" if name.isascii() else re.escape(name)
        for name in sorted(_NAMES, key=len, reverse=True)
    )
)


def substance_named(name: str) -> Substance | None:
    """The substance of this name, English or Chinese; None for one that is unknown."""
    found = _NAMES.get(name.strip().casefold())
    return SUBSTANCES[found] if found else None


def only_substance_in(text: str) -> Substance | None:
    """The one substance that a text names; None where it names none or several."""
    names = {_NAMES[found] for found in _MENTION.findall(text.casefold())}
    return SUBSTANCES[names.pop()] if len(names) == 1 else None
