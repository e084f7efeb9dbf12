"""What the learner asks of a training objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from medray.data.packing import PackedRow
from medray.observability.meters import Meters
from medray.types import StepTotals


@dataclass(frozen=True)
class RowTensors:
    """What a row knows of its N trained tokens, on the learner's device."""

    sequence_index: Tensor  # [N]
    sequence_lengths: Tensor  # [S]
    columns: Mapping[str, Tensor]  # name -> [N]

    @classmethod
    def of(cls, row: PackedRow, device: torch.device) -> RowTensors:
        """Move a packed row's per-token data to `device`."""
        return cls(
            torch.as_tensor(row.sequence_index, device=device),
            torch.as_tensor(row.sequence_lengths, device=device),
            {name: torch.as_tensor(column, device=device) for name, column in row.columns.items()},
        )


class Objective(Protocol):
    """Turns the log-probabilities of a row into a loss whose sum over rows and ranks is the step's loss."""

    separable: ClassVar[bool]
    """True when continuations of one prompt may be computed in different rows."""

    def __call__(self, logp: Tensor, row: RowTensors, totals: StepTotals) -> tuple[Tensor, Meters]:
        """Return the row's share of the step's loss (scalar) and its metrics."""
        ...
