"""Reward-model metrics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medray.errors import DataError
from medray.learners.held_out.pair_metrics import calibration_error, pair_metrics

LN3 = math.log(3)  # sigmoid(ln 3) = 3/4


def test_accuracy_overall_and_at_equal_length() -> None:
    """Four pairs: won, tied, lost, won; lengths 10/10, 100/95, 100/50, 9/10 (10% of the longer one is allowed)."""
    scores = [(2.0, 1.0), (1.0, 1.0), (0.0, 3.0), (5.0, 1.0)]
    lengths = [(10, 10), (100, 95), (100, 50), (9, 10)]
    found = pair_metrics(scores, lengths)
    assert found.accuracy == (1 + 0.5 + 0 + 1) / 4
    assert found.num_matched == 3
    assert found.matched_accuracy == (1 + 0.5 + 1) / 3
    assert found.longer_wins == (0.5 + 1 + 1 + 0) / 4


def test_no_matched_pairs_leave_the_metric_out() -> None:
    found = pair_metrics([(1.0, 0.0)], [(10, 100)])
    assert math.isnan(found.matched_accuracy)
    assert "reward/length_matched_accuracy" not in found.metrics()
    assert found.metrics()["reward/num_length_matched"] == 0


def test_calibration_by_hand() -> None:
    """Confidence 3/4 four times, right three times: no error. Right always: 1/4. Right once: 1/2."""
    sure = np.array([LN3, LN3, LN3, -LN3])
    assert calibration_error(sure) == pytest.approx(0, abs=1e-12)
    assert calibration_error(np.array([LN3] * 4)) == pytest.approx(0.25)
    assert calibration_error(-sure) == pytest.approx(0.5)


def test_calibration_weighs_bins_by_their_size() -> None:
    """Two pairs at 3/4, one right (error 1/4); two ties at 1/2, half right (error 0): (2/4) * (1/4)."""
    assert calibration_error(np.array([LN3, -LN3, 0.0, 0.0])) == pytest.approx(0.125)


def test_brier() -> None:
    """Probabilities 3/4 and 1/4 of what happened: (1/16 + 9/16) / 2."""
    assert pair_metrics([(LN3, 0.0), (0.0, LN3)], [(1, 1), (1, 1)]).brier == pytest.approx(5 / 16)


def test_extreme_margins_stay_finite() -> None:
    assert pair_metrics([(1e4, 0.0), (0.0, 1e4)], [(1, 1)] * 2).calibration_error == 0.5


def test_no_pairs_is_an_error() -> None:
    with pytest.raises(DataError, match="num_eval"):
        pair_metrics([], [])
