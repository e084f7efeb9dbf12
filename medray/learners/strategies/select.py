"""The strategy that `learner.strategy` names, and the process group it talks over."""

from __future__ import annotations

import datetime
from typing import Literal

import torch.distributed as dist

from medray.config.learner import LearnerConfig
from medray.learners.strategies.base import Strategy
from medray.learners.strategies.replicated import DataParallel, SingleProcess


def connect_ranks(
    rank: int,
    num_ranks: int,
    address: tuple[str, int],
    *,
    device: Literal["cpu", "cuda"],
    timeout_s: float,
) -> None:
    """Join the default process group: gloo between CPUs, NCCL between GPUs (which has not run).

    Args:
        rank, num_ranks: this process's number and how many there are.
        address: host and port at which rank 0 gathers its peers.
        device: where the learner's model lives.
        timeout_s: a peer that is silent for so long is an error.
    """
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        init_method=f"tcp://{address[0]}:{address[1]}",
        rank=rank,
        world_size=num_ranks,
        timeout=datetime.timedelta(seconds=timeout_s),
    )


def make_strategy(config: LearnerConfig, num_ranks: int) -> Strategy:
    """The strategy for `num_ranks` ranks; all but "single" need a process group (`connect_ranks`, Ray Train)."""
    name = config.resolved(num_ranks)
    if name == "single":
        return SingleProcess()
    if name == "ddp":
        return DataParallel()
    if name == "fsdp2":
        from medray.learners.strategies.fsdp2 import FullyShardedDataParallel

        return FullyShardedDataParallel()
    from medray.learners.strategies.zero import Zero

    return Zero(int(name.removeprefix("zero")), offload_optimizer=config.offload_optimizer)
