"""What the learner asks of a training objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from medray.data.batches.packing import PackedRow
from medray.observability.meters import Meters
from medray.types import PromptTree, StepTotals

T = TypeVar("T")
Output = Literal[
    "logp", "logp+hit", "logp+entropy", "logp+collision", "hidden", "value", "score", "step"
]
"""What an objective reads of a row: log-probabilities [N] of the trained tokens; those and a column `hit`, 1 where
the token is the most likely one, `entropy` of its distribution, or `collision`, the log of its sum of squared
probabilities; the hidden states [N, D] that predict them; a value
[N] of the state before each; one score [S] a continuation; or a score [N] at each trained token itself, where a step
ends."""

READS_WHOLE: tuple[Output, ...] = ("score", "step")
"""Outputs that are read at tokens which predict nothing."""


@dataclass(frozen=True)
class RowTensors:
    """What a row knows of its N trained tokens and S continuations, on the learner's device."""

    sequence_index: Tensor  # [N]
    sequence_lengths: Tensor  # [S]
    columns: Mapping[str, Tensor]  # name -> [N] or [N, K]
    tree_sizes: tuple[int, ...] = ()  # continuations of each tree; they add up to S
    packed: PackedRow | None = None  # the row itself, for objectives that run another model on it

    @classmethod
    def of(
        cls, row: PackedRow, device: torch.device, extra: Mapping[str, Tensor] | None = None
    ) -> RowTensors:
        """Move a packed row's per-token data to `device`; `extra` are columns that are there already."""
        columns = {
            name: torch.as_tensor(column, device=device) for name, column in row.columns.items()
        }
        return cls(
            torch.as_tensor(row.sequence_index, device=device),
            torch.as_tensor(row.sequence_lengths, device=device),
            columns | dict(extra or {}),
            tuple(len(span.continuations) for span in row.spans),
            row,
        )


class Objective(Protocol):
    """Turns what the model says of a row into a loss whose sum over rows and ranks is the step's loss."""

    separable: ClassVar[bool]
    """True when continuations of one prompt may be computed in different rows."""

    output: ClassVar[Output]
    """What `values` are."""

    def __call__(
        self, values: Tensor, row: RowTensors, totals: StepTotals, /
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the step's loss (scalar) and its metrics."""
        ...


class Peers(Protocol):
    """The ranks of a step, as a `Strategy` knows them."""

    rank: int

    def sum_values(self, values: Tensor) -> Tensor:
        """The sum over ranks of a small float64 vector on the CPU."""
        ...

    def gather(self, value: T) -> list[T]:
        """What every rank gave, by rank."""
        ...


@runtime_checkable
class StepwideObjective(Protocol):
    """An objective that may need to know the whole step, from all ranks, before its first gradient."""

    def prepare(
        self, scorer: Any, trees: Sequence[PromptTree], peers: Peers
    ) -> tuple[Sequence[PromptTree], Objective]:
        """The trees and the objective of one step; no gradient. Every rank calls it, and exchanges the same values.

        Args:
            scorer: of the model under its present weights.
            trees: this rank's.
            peers: all ranks of the step.
        """
        ...
