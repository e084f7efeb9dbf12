"""Mismatch corrections by name: a constant factor for the loss of each token.

They compare the learner's log-probabilities from the start of the batch, under the very weights that sampled,
with the engine's. What they leave out still counts in the step's denominators, which are known before the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medray.config.correction import (
    Correction,
    IcePop,
    SequenceMask,
    SequenceMis,
    SequenceTis,
    Tis,
)
from medray.config.parts import CORRECTION, Part
from medray.errors import ConfigError
from medray.learners.objectives.base import RowTensors
from medray.losses.mismatch import (
    icepop_weight,
    sequence_mask,
    sequence_mis_weight,
    sequence_tis_weight,
    tis_weight,
)
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
        case SequenceTis():
            return lambda old, behaviour, row: sequence_tis_weight(
                old, behaviour, row.sequence_index, row.sequence_lengths, config.high
            )
        case SequenceMis():
            return lambda old, behaviour, row: sequence_mis_weight(
                old, behaviour, row.sequence_index, row.sequence_lengths, config.low, config.high
            )
        case Part():
            return _checked(make_part(config, CORRECTION, "algorithm.correction", {}), config.kind)


def correction_weights(config: Sequence[Correction]) -> Weigh | None:
    """The product of the factors of several corrections; None for none.

    Raises:
        ConfigError: as `correction_weight`.
    """
    weighs = [correction_weight(one) for one in config]
    if not weighs:
        return None

    def product(old: Tensor, behaviour: Tensor, row: RowTensors) -> Tensor:
        weight = weighs[0](old, behaviour, row)
        for weigh in weighs[1:]:
            weight = weight * weigh(old, behaviour, row)
        return weight

    return product


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
