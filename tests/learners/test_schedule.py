"""Learning rates by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from medray.config.optim import OptimConfig
from medray.learners.schedule import learning_rate, warmup_note


def _rates(num_steps: int, **settings: Any) -> list[float]:
    config = OptimConfig(lr=1.0, **settings)
    return [learning_rate(config, step, num_steps) for step in range(num_steps)]


def test_constant_after_warmup() -> None:
    assert _rates(5, warmup_steps=2) == [0.5, 1, 1, 1, 1]


def test_a_warmup_longer_than_the_run_is_said() -> None:
    config = OptimConfig(lr=1e-4, warmup_steps=50)
    assert warmup_note(config, 50) == ""
    assert warmup_note(OptimConfig(warmup_ratio=0.9), 2) == ""
    note = warmup_note(config, 5)
    assert note.startswith("optim.warmup_steps=50 does not end within the 5 steps of this run")
    assert "reaches 1e-05 of optim.lr=0.0001" in note


def test_linear() -> None:
    assert _rates(6, warmup_steps=2, schedule="linear") == pytest.approx(
        [0.5, 1, 1, 0.75, 0.5, 0.25]
    )


def test_linear_to_a_floor() -> None:
    """A fall to 0.2 keeps 0.2 + 0.8 of each share."""
    found = _rates(4, schedule="linear", min_lr_ratio=0.2)
    assert found == pytest.approx([1, 0.8, 0.6, 0.4])


def test_cosine() -> None:
    """(1 + cos(pi * k / 4)) / 2."""
    root = math.sqrt(0.5)
    assert _rates(4, schedule="cosine") == pytest.approx([1, (1 + root) / 2, 0.5, (1 - root) / 2])


def test_wsd() -> None:
    """Stable until the last 4 of 10 steps, then 1 - sqrt(k / 4) for k = 0..3."""
    found = _rates(10, schedule="wsd", decay_ratio=0.4, warmup_ratio=0.2)
    decay = [1, 0.5, 1 - math.sqrt(0.5), 1 - math.sqrt(0.75)]
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1, *decay])


def test_warmup_ratio_is_rounded_up() -> None:
    assert _rates(25, warmup_ratio=0.1)[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_steps_of_warmup_go_before_their_ratio() -> None:
    assert _rates(4, warmup_ratio=0.9, warmup_steps=0) == [1, 1, 1, 1]
    assert _rates(4, warmup_ratio=0.9, warmup_steps=2) == [0.5, 1, 1, 1]
