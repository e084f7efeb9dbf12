"""One batch small enough for a sheet of paper; `tests/training/test_algorithm_goldens.py` shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from medray.actors.groups import GroupHandle
from medray.config.algorithms.registry import checked_algorithm
from medray.learners.objectives.base import RowTensors
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.training.advantages import advantages_of
from medray.types import GroupMeta, GroupScore, Prompt, Record, ResponseKl, StepTotals
from tests.support.groups import scored

RATIOS = [1.5, 1.0, 0.5, 1.0, 1.25, 2.0]
LENGTHS = [1, 2, 2, 1]
LIMIT = 4
C = 1 / math.sqrt(2)
Result = tuple[float, list[float], dict[str, float]]


def _group(
    name: str, rewards: tuple[float, ...], lengths: tuple[int, ...], kl: tuple[ResponseKl, ...]
) -> GroupHandle:
    meta = GroupMeta(name, 5, lengths, 0, 0, "")
    prompt = Prompt(Record(name, ()), np.arange(5, dtype=np.int32))
    group = scored(prompt, meta, GroupScore(rewards), name)
    group.reference_kl = kl
    return group


def run(
    settings: dict[str, Any],
    *,
    greedy: Sequence[float] = (),
    kl: Sequence[float] = (0,) * 6,
    ref: float | None = None,
    old: Sequence[float] | None = None,
    picked: Sequence[float] | None = None,
) -> Result:
    """Return the loss, gradient at the six logps, and metrics; `kl` is each token's KL to the reference."""
    config = checked_algorithm(settings)
    to_go = [np.cumsum(own[::-1])[::-1] for own in np.split(np.array(kl, float), [1, 3, 5])]
    kls = tuple(ResponseKl(float(k[0]), float(k.mean()), float(k.var())) for k in to_go)
    batch = [_group("a", (1.0, 0.0), (1, 2), kls[:2]), _group("b", (3.0, 1.0), (2, 1), kls[2:])]
    found = advantages_of(batch, config, LIMIT, greedy)
    per_response = np.concatenate(found.values).tolist()
    per_token = [
        a - found.kl_slope * (k - own.mean())
        for a, own in zip(per_response, to_go, strict=True)
        for k in own
    ]
    index = torch.repeat_interleave(torch.arange(4), torch.tensor(LENGTHS))
    logp = torch.full((6,), -1.0, dtype=torch.float64, requires_grad=True)
    columns = {
        "behaviour_logp": -1.0 - torch.tensor(RATIOS, dtype=torch.float64).log(),
        "advantage": torch.tensor(per_token, dtype=torch.float64),
    }
    if ref is not None:
        columns["ref_logp"] = torch.full((6,), ref, dtype=torch.float64)
    if old is not None:
        columns["old_logp"] = -1.0 - torch.tensor(old, dtype=torch.float64).log()
    if picked is not None:
        columns["picked"] = torch.tensor(picked, dtype=torch.float64)
    row = RowTensors(index, torch.tensor(LENGTHS), columns)
    loss, meters = PolicyGradient(config, LIMIT)(logp, row, StepTotals(6, 4, 2))
    loss.backward()
    assert logp.grad is not None
    return float(loss.detach()), logp.grad.tolist(), meters.values()


def check(got: Result, loss: float, grad: list[float], over: float) -> None:
    assert got[0] == pytest.approx(loss / over, rel=1e-5)
    assert got[1] == pytest.approx([g / over for g in grad], rel=1e-5)
