"""Every rank holds everything: one process, or data parallelism."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from medray.config.optim import OptimConfig
from medray.learners.strategies.adamw import adamw, named_state, saved_state
from medray.learners.strategies.base import from_all, reduced
from medray.models.packed import PackedModel
from medray.models.weight_placement import Unsharded

T = TypeVar("T")
BUCKET_BYTES = 64 * 2**20


class SingleProcess(Unsharded):
    """One rank, nothing to share."""

    rank = 0
    world_size = 1
    policy: PackedModel
    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]

    def take(self, policy: PackedModel, optim: OptimConfig) -> None:
        """Take over the model: place it, and create the AdamW optimizer of its trainable parameters."""
        self.policy = policy
        self.max_grad_norm = optim.max_grad_norm
        self._spread()
        policy.placement = self
        self.parameters = [p for _, p in policy.trainable()]
        self.optimizer = adamw(policy.trainable(), optim)

    def _spread(self) -> None:
        """Put the weights where they belong."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss`."""
        loss.backward()

    def sum_gradients(self) -> None:
        """Replace every gradient by its sum over ranks.

        A missing gradient is zero, as where ranks sum theirs: else whether a parameter that a step does not use is
        decayed would depend on the strategy.
        """
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def step(self, rate: float) -> float:
        """Clip and step; returns the norm."""
        self.sum_gradients()
        norm = float(self._clip())
        if not torch.isfinite(torch.tensor(norm)):
            return norm
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _clip(self) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)

    def sum_values(self, values: Tensor) -> Tensor:
        """Return `values` unchanged: there is one rank."""
        return values

    def gather(self, value: T) -> list[T]:
        """Return the only rank's value, as a list of one."""
        return [value]

    def optimizer_state(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors of the optimizer's state."""
        yield from named_state(self.optimizer, self.policy.trainable())

    def load_optimizer_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the optimizer state saved by `optimizer_state`; parameters without one start afresh."""
        for name, parameter in self.policy.trainable():
            state = saved_state(tensors, name)
            if state is not None:
                self.optimizer.state[parameter] = {
                    key: self._placed(value, parameter) for key, value in state.items()
                }

    def _placed(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """A whole tensor of the optimizer's state, as it is kept beside `parameter`."""
        return value.to(parameter.device, copy=True)


class DataParallel(SingleProcess):
    """Every rank holds the whole model; gradients are summed in flat buckets over gloo or NCCL, once a step."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def sum_gradients(self) -> None:
        """All-reduce in buckets of about 64 MiB, in parameter order.

        Once a step and not, as torch's DistributedDataParallel does, in every backward pass: ranks have different
        numbers of rows, and a rank with fewer would leave the others waiting.
        """
        for bucket in _buckets(self.parameters):
            grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in bucket]
            flat = torch.cat([g.reshape(-1) for g in grads])
            dist.all_reduce(flat)
            offset = 0
            for parameter, grad in zip(bucket, grads, strict=True):
                part: Tensor = flat[offset : offset + grad.numel()].view_as(grad)
                offset += grad.numel()
                parameter.grad = part

    def sum_values(self, values: Tensor) -> Tensor:
        """All-reduce, on the device that the backend needs."""
        return reduced(values)

    def gather(self, value: T) -> list[T]:
        """Gather a picklable value from every rank, in rank order."""
        return from_all(value, self.world_size)


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        bucket.append(parameter)
        size += parameter.numel() * parameter.element_size()
        if size >= BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket
