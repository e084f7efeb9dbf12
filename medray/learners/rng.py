"""The random state of every rank, which dropout draws from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from medray.learners.strategies.base import Strategy, peer_device


def rng_states(strategy: Strategy) -> Iterator[tuple[str, Tensor]]:
    """Pairs of name and state, of all ranks; every rank must go through all of them."""
    own = {"rng.torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        own["rng.cuda"] = torch.cuda.get_rng_state()
    for name, state in own.items():
        for rank, of_rank in enumerate(_from_all(state, strategy.world_size)):
            yield f"{name}.{rank}", of_rank


def restore_rng(tensors: Mapping[str, Tensor], rank: int) -> None:
    """Take this rank's state back, where there is one."""
    if f"rng.torch.{rank}" in tensors:
        torch.set_rng_state(tensors[f"rng.torch.{rank}"])
    if f"rng.cuda.{rank}" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[f"rng.cuda.{rank}"])


def _from_all(state: Tensor, world_size: int) -> list[Tensor]:
    if world_size == 1:
        return [state]
    sent = state.to(peer_device())
    received = [torch.empty_like(sent) for _ in range(world_size)]
    dist.all_gather(received, sent)
    return [r.cpu() for r in received]
