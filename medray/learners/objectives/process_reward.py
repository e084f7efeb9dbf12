"""Process reward modelling: whether each step of a solution is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medray.config.prm import StepLossConfig
from medray.data.batches.trees import STEP_LABEL
from medray.learners.objectives.base import Output, RowTensors
from medray.losses.process import step_loss
from medray.losses.reduce import aggregate
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class StepReward:
    """Reads the column `step_label` of the tokens at which labelled steps end: the trained ones."""

    config: StepLossConfig
    separable: ClassVar[bool] = True
    output: ClassVar[Output] = "step"

    def __call__(
        self, values: Tensor, row: RowTensors, totals: StepTotals
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the loss and its metrics; `values` are log-odds [N]."""
        scores, labels = values.double(), row.columns[STEP_LABEL].double()
        is_right = labels >= self.config.threshold
        target = is_right.to(labels.dtype) if self.config.labels == "hard" else labels
        loss = aggregate(
            step_loss(scores, target),
            row.sequence_index,
            row.sequence_lengths,
            totals,
            how="token" if self.config.aggregation == "step" else "sequence",
        )
        found_right = scores.detach() > 0
        meters, count = Meters(), len(labels)
        meters.mean("process/step_accuracy", float((found_right == is_right).sum()), count)
        meters.mean("process/score", float(scores.detach().sigmoid().sum()), count)
        meters.mean("process/right_share", float(is_right.sum()), count)
        num_found = first_errors_found(found_right, is_right, row)
        meters.mean("process/first_error_accuracy", num_found, len(row.sequence_lengths))
        return loss, meters


def first_errors_found(found_right: Tensor, is_right: Tensor, row: RowTensors) -> int:
    """The number of solutions in which the first step found wrong is the first labelled wrong, or in which neither is.

    Steps without a label do not count. Source: arXiv:2412.06559 (ProcessBench).
    """
    lengths: list[int] = row.sequence_lengths.tolist()
    both = zip(found_right.cpu().split(lengths), is_right.cpu().split(lengths), strict=True)
    return sum(_first_wrong(found) == _first_wrong(known) for found, known in both)


def _first_wrong(right: Tensor) -> int:
    wrong = (~right).nonzero()
    return int(wrong[0]) if len(wrong) else -1
