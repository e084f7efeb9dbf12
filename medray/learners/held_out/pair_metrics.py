"""Metrics of a reward model on held-out pairs: accuracy, accuracy at equal length, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medray.errors import DataError

Vector = npt.NDArray[np.float64]
NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class PairMetrics:
    """Accuracy and calibration of a model over the pairs that it scored."""

    accuracy: float
    """Share of pairs whose chosen response scores higher; a tie counts half."""
    num_matched: int
    """Pairs whose lengths differ by at most `tolerance` of the longer one."""
    matched_accuracy: float
    """Accuracy on those; NaN when there are none."""
    longer_wins: float
    """Share of pairs whose chosen response is the longer one: what length alone would score."""
    calibration_error: float
    """Mean |confidence - accuracy| over bins of confidence, weighted by their size."""
    brier: float
    """Mean squared distance of sigmoid(margin) from 1."""

    def metrics(self) -> dict[str, float]:
        """Named as metrics; what is undefined is left out."""
        values = {
            "reward/pair_accuracy": self.accuracy,
            "reward/length_matched_accuracy": self.matched_accuracy,
            "reward/num_length_matched": float(self.num_matched),
            "reward/longer_wins": self.longer_wins,
            "reward/calibration_error": self.calibration_error,
            "reward/brier": self.brier,
        }
        return {name: value for name, value in values.items() if not np.isnan(value)}


def pair_metrics(
    scores: Sequence[tuple[float, float]],
    lengths: Sequence[tuple[int, int]],
    *,
    tolerance: float = 0.1,
) -> PairMetrics:
    """Compute the metrics of scored pairs.

    Args:
        scores: of the chosen and the rejected response of each pair.
        lengths: their trained tokens.
        tolerance: pairs are length-matched when their lengths differ by at most this share of the longer one.

    Raises:
        DataError: there are no pairs.
    """
    if not scores:
        raise DataError("no preference pairs to evaluate the reward model on: raise data.num_eval")
    margins: Vector = np.array([chosen - rejected for chosen, rejected in scores])
    sizes = np.array(lengths, dtype=np.float64)
    won = (margins > 0) + 0.5 * (margins == 0)
    matched = np.abs(sizes[:, 0] - sizes[:, 1]) <= tolerance * sizes.max(axis=1)
    longer = (sizes[:, 0] > sizes[:, 1]) + 0.5 * (sizes[:, 0] == sizes[:, 1])
    return PairMetrics(
        accuracy=float(won.mean()),
        num_matched=int(matched.sum()),
        matched_accuracy=float(won[matched].mean()) if matched.any() else float("nan"),
        longer_wins=float(longer.mean()),
        calibration_error=calibration_error(margins),
        brier=float(((1 - _sigmoid(margins)) ** 2).mean()),
    )


def calibration_error(margins: Vector, num_bins: int = NUM_BINS) -> float:
    """Expected calibration error of sigmoid(margin) as the probability that the chosen response is better.

    Confidence is max(p, 1 - p), in equal bins over [0.5, 1]; a pair is right when p > 0.5, half right at 0.5.

    Source: arXiv:1706.04599 eq. 3.
    """
    probability = _sigmoid(margins)
    confidence = np.maximum(probability, 1 - probability)
    right = (probability > 0.5) + 0.5 * (probability == 0.5)
    bins = np.minimum(((confidence - 0.5) * 2 * num_bins).astype(int), num_bins - 1)
    gaps = [
        abs(float(confidence[bins == b].sum() - right[bins == b].sum())) for b in range(num_bins)
    ]
    return sum(gaps) / len(margins)


def _sigmoid(x: Vector) -> Vector:
    return 0.5 * (1 + np.tanh(0.5 * x))
