"""The best evaluation, patience, and going on from a checkpoint."""

from __future__ import annotations

import math

import pytest

from medray.config.supervised import SelectionConfig
from medray.errors import ConfigError
from medray.learners.selection import Selection


def _watch(selection: Selection, values: list[float]) -> list[bool]:
    return [
        selection.watch(step, {"eval/loss/total": value}) for step, value in enumerate(values, 1)
    ]


def test_the_lowest_loss_is_the_best() -> None:
    selection = Selection(SelectionConfig(patience=2))
    assert _watch(selection, [3.0, 2.0, 2.0]) == [True, True, False]
    assert (selection.best_step, selection.best_value, selection.is_exhausted) == (2, 2.0, False)
    assert not selection.watch(4, {"eval/loss/total": math.nan})
    assert selection.is_exhausted


def test_higher_may_be_better_and_small_gains_may_not_count() -> None:
    config = SelectionConfig(goal="max", min_change=0.1)
    assert _watch(Selection(config), [0.5, 0.55, 0.65, 0.7]) == [True, False, True, False]
    assert not Selection(config).is_exhausted, "without patience it never is"


def test_it_goes_on_from_its_state() -> None:
    selection = Selection(SelectionConfig(patience=3))
    _watch(selection, [1.0, 2.0, 2.0])
    again = Selection(SelectionConfig(patience=3), selection.state())
    assert not again.watch(4, {"eval/loss/total": 1.5})
    assert again.is_exhausted
    assert again.best_step == 1
    fresh = Selection(SelectionConfig(), Selection(SelectionConfig()).state())
    assert fresh.watch(1, {"eval/loss/total": 9.0})


def test_a_metric_nobody_measures_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"selection.metric=f1 is not measured: use one of loss/total"
    ):
        Selection(SelectionConfig(metric="f1")).watch(1, {"eval/loss/total": 1.0})
