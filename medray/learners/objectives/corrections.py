"""Mismatch corrections by name: a constant factor for the loss of each token.

They compare the learner's log-probabilities from the start of the batch, under the very weights that sampled,
with the engine's. What they leave out still counts in the step's denominators, which are known before the pass.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from medray.config.policy import CorrectionConfig
from medray.learners.objectives.base import RowTensors
from medray.losses.mismatch import icepop_weight, sequence_mask, tis_weight

Correction = Callable[[Tensor, Tensor, RowTensors, CorrectionConfig], Tensor]
"""(old_logp [N], behaviour_logp [N], row, settings) -> factor [N]"""


def _tis(old: Tensor, behaviour: Tensor, row: RowTensors, config: CorrectionConfig) -> Tensor:
    return tis_weight(old, behaviour, config.bounds[1])


def _icepop(old: Tensor, behaviour: Tensor, row: RowTensors, config: CorrectionConfig) -> Tensor:
    return icepop_weight(old, behaviour, *config.bounds)


def _sequence_mask(
    old: Tensor, behaviour: Tensor, row: RowTensors, config: CorrectionConfig
) -> Tensor:
    kept = sequence_mask(old, behaviour, row.sequence_index, row.sequence_lengths, *config.bounds)
    return kept.to(old.dtype)


CORRECTIONS: dict[str, Correction] = {
    "tis": _tis,
    "icepop": _icepop,
    "sequence_mask": _sequence_mask,
}
