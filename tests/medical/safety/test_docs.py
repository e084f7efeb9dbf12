"""docs/SAFETY.md states what the sets give."""

from __future__ import annotations

from pathlib import Path

from tests.support.safety_sets import EMERGENCIES, NEAR_MISSES, documented, wilson

PAGE = Path(__file__).parents[3] / "docs" / "SAFETY.md"


def test_the_documented_figures_are_those_of_the_sets() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert documented() in page, "run: python -m tests.support.safety_sets"
    for rows in (EMERGENCIES, NEAR_MISSES):
        assert f"{len(rows)} " in page


def test_wilson_intervals_are_the_published_ones() -> None:
    low, high = wilson(8, 10)
    assert abs(low - 0.4902) < 5e-4
    assert abs(high - 0.9433) < 5e-4
