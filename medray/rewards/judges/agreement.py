"""How far a grader agrees with labelled rows: accuracy, Cohen's kappa, macro-F1.

Source: Cohen 1960, doi:10.1177/001316446002000104. Macro-F1 is the mean of the F1 of both classes, as in HealthBench's
evaluation of its grader (arXiv:2505.08775, section 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of verdicts with labels, over `count` rows."""

    count: int
    accuracy: float
    kappa: float
    """0 for chance agreement, 1 for perfect; 0 where verdicts or labels are all alike."""
    macro_f1: float


def agreement(verdicts: Sequence[bool], labels: Sequence[bool]) -> Agreement:
    """Compare verdicts with labels.

    Raises:
        ValueError: there are none, or their numbers differ.
    """
    if not labels or len(labels) != len(verdicts):
        raise ValueError(f"{len(verdicts)} verdicts and {len(labels)} labels")
    count = len(labels)
    accuracy = sum(v == y for v, y in zip(verdicts, labels, strict=True)) / count
    yes, said = sum(labels) / count, sum(verdicts) / count
    chance = yes * said + (1 - yes) * (1 - said)
    kappa = (accuracy - chance) / (1 - chance) if chance < 1 else 0.0
    f1 = [_f1(verdicts, labels, wanted) for wanted in (True, False)]
    return Agreement(count, accuracy, kappa, sum(f1) / 2)


def _f1(verdicts: Sequence[bool], labels: Sequence[bool], wanted: bool) -> float:
    both = sum(v == y == wanted for v, y in zip(verdicts, labels, strict=True))
    total = sum(v == wanted for v in verdicts) + sum(y == wanted for y in labels)
    return 2 * both / total if total else 0.0
