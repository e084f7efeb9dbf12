"""Mismatch corrections by name: a constant factor for the loss of each token.

They compare the learner's log-probabilities from the start of the batch, under the very weights that sampled,
with the engine's. What they leave out still counts in the step's denominators, which are known before the pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medray.config.correction import Correction, IcePop, SequenceMask, Tis
from medray.config.parts import CORRECTION, Part
from medray.errors import ConfigError
from medray.learners.objectives.base import RowTensors
from medray.losses.mismatch import icepop_weight, sequence_mask, tis_weight
from medray.plugins import make_part

Weigh = Callable[[Tensor, Tensor, RowTensors], Tensor]
"""(old_logp [N], behaviour_logp [N], row) -> factor [N]"""


def correction_weight(config: Correction) -> Weigh:
    """The correction that `config` describes, or your own.

    Raises:
        ConfigError: your own cannot be imported or called.
    """
    match config:
        case Tis():
            return lambda old, behaviour, row: tis_weight(old, behaviour, config.high)
        case IcePop():
            return lambda old, behaviour, row: icepop_weight(
                old, behaviour, config.low, config.high
            )
        case SequenceMask():
            return lambda old, behaviour, row: sequence_mask(
                old, behaviour, row.sequence_index, row.sequence_lengths, config.low, config.high
            ).to(old.dtype)
        case Part():
            return _checked(make_part(config, CORRECTION, "algorithm.correction", {}), config.kind)


def _checked(own: Weigh, kind: str) -> Weigh:
    @torch.no_grad()
    def call(old: Tensor, behaviour: Tensor, row: RowTensors) -> Tensor:
        weight = own(old, behaviour, row)
        if weight.shape != old.shape:
            raise ConfigError(
                f"algorithm.correction={kind} returned {tuple(weight.shape)}: "
                f"it must return one factor per token, {tuple(old.shape)}"
            )
        return weight.to(old.dtype)

    return call
