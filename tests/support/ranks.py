"""What one rank of a learner does in a process of its own."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from medray.data.batches.packing import balance
from medray.learners.learner import Learner
from medray.learners.strategies import DataParallel
from medray.observability.meters import Meters
from medray.types import PromptTree
from tests.support.objectives import CASES, Case


def gradients(learner: Learner, case: Case, trees: list[PromptTree]) -> tuple[Meters, torch.Tensor]:
    """Metrics and gradient of one step, over all ranks, of which this one holds `trees`."""
    own, objective = learner.prepare(trees, case.objective)
    meters = learner.forward_backward(own, objective, learner.totals(own))
    learner.strategy.sum_gradients()
    return meters, torch.cat([p.grad.flatten() for p in learner.parameters if p.grad is not None])


def share(case: Case, rank: int, world_size: int) -> list[PromptTree]:
    """This rank's part of the batch; of one case, rank 1 gets nothing."""
    batch = case.batch(0)
    if case is CASES["sft-sequence"]:
        return batch if rank == 0 else []
    return [batch[i] for i in balance([t.num_tokens for t in batch], world_size)[rank]]


def run_rank(rank: int, world_size: int, folder: str, model: str) -> None:
    """Compute every case as one of `world_size` ranks; writes `folder`/rank.pt."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size
    )
    results = {}
    for name, case in CASES.items():
        learner = case.learner(Path(model), strategy=DataParallel())
        results[name] = gradients(learner, case, share(case, rank, world_size))
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
