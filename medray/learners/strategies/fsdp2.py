"""Fully sharded data parallelism with PyTorch's `fully_shard`: a rank keeps a slice of every weight.

Each layer's weights are gathered before it computes and let go of after, forward and backward; what lies outside the
layers (embeddings, last norm, output head) is gathered once a row and stays until its backward pass is over, so a
tied head is one weight and the head may be used any number of times. Gradients are summed over ranks and sharded row
by row. Run on CPUs over gloo; the CUDA path (NCCL, the same calls) has not run.

Source: FSDP, arXiv:2304.11277; ZeRO, arXiv:1910.02054.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from medray.learners.strategies.adamw import named_state
from medray.learners.strategies.base import Root, common_plan, peer_device, run_hooked
from medray.learners.strategies.replicated import DataParallel
from medray.models.weight_placement import layer_stacks, parts_of

T = TypeVar("T")


class FullyShardedDataParallel(DataParallel):
    """Weights, gradients and optimizer state are each split by rows over the ranks."""

    sharded = True

    def _spread(self) -> None:
        mesh = init_device_mesh(peer_device(), (self.world_size,))
        root = Root(self.policy.module)
        self.layers = layer_stacks(self.policy.module)
        for layer in self.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(root, mesh=mesh, reshard_after_forward=False)
        self.root = root
        # Losses are already divided by the token counts of the whole step, so gradients are summed, not averaged.
        # Force plain sums: FSDP2 would use PreMulSum, which only NCCL implements (pytorch/pytorch#155915).
        for part in self._parts():
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
        # A rank may have no token for an expert. It must take part in the reduce-scatter all the same, or the
        # collectives of the ranks no longer match (pytorch/pytorch#158719).
        self._parts()[-1].set_reduce_scatter_unused_params(True)
        # FSDP2 fixes `requires_grad` of the gathered weights at their first all-gather. Gather once now, while the
        # adapter is on: a first pass with the adapter off (the reference) would leave its weights frozen.
        for _ in self.gathered(self.policy.module):
            pass

    def _parts(self) -> list[FSDPModule]:
        return cast("list[FSDPModule]", [*self.layers, self.root])

    def align_passes(self, passes: Sequence[int]) -> list[int]:
        """As many runs as the rank with most rows, each with as many passes as the longest."""
        return common_plan(list(passes))

    def run(self, compute: Callable[[], T]) -> T:
        """Gather, compute, and without gradients let go of everything again."""
        result = run_hooked(self.root, compute)
        if not torch.is_grad_enabled():
            self._parts()[-1].reshard()
        return result

    def gathered(self, module: nn.Module) -> Iterator[list[str]]:
        """A layer at a time, then what lies outside the layers."""
        for part, names in zip(self._parts(), parts_of(module, self.layers), strict=True):
            part.unshard()
            try:
                yield names
            finally:
                part.reshard()

    def sum_gradients(self) -> None:
        """No-op: FSDP2 reduces gradients during the backward pass."""

    def _clip(self) -> Tensor:
        return _whole(super()._clip())

    def optimizer_state(self) -> Iterator[tuple[str, Tensor]]:
        """Each tensor is gathered when its turn comes."""
        for name, value in named_state(self.optimizer, self.policy.trainable()):
            yield name, _whole(value)

    def _placed(self, value: Tensor, parameter: Any) -> Tensor:
        if value.ndim == 0:
            return super()._placed(value, parameter)
        value = value.to(parameter.device)
        # Every rank has the whole tensor and takes its own slice: nothing is sent.
        return distribute_tensor(
            value, parameter.device_mesh, parameter.placements, src_data_rank=None
        )


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value
