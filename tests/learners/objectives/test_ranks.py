"""Two ranks take the step of one: losses, metrics and gradients, whatever the objective."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from medray.observability.meters import Meters
from tests.support.objectives import CASES
from tests.support.ranks import gradients, run_rank, share

Results = list[dict[str, tuple[Meters, torch.Tensor]]]


@pytest.fixture(scope="module")
def two_ranks(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What both ranks computed, over gloo."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(run_rank, args=(2, str(folder), str(tiny_model)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_take_the_step_of_one(tiny_model: Path, two_ranks: Results, name: str) -> None:
    case = CASES[name]
    assert len(share(case, 0, 2)) + len(share(case, 1, 2)) == len(case.batch(0))
    meters, grads = gradients(case.learner(tiny_model), case, case.batch(0))
    parts = [rank[name] for rank in two_ranks]
    assert torch.equal(parts[0][1], parts[1][1])
    torch.testing.assert_close(parts[0][1], grads, rtol=1e-4, atol=1e-5 * float(grads.abs().max()))
    merged = Meters.merged(part[0] for part in parts).values()
    assert merged.keys() == meters.values().keys()
    for key, value in meters.values().items():
        assert merged[key] == pytest.approx(value, rel=1e-5, abs=1e-6), key
