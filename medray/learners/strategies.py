"""How the ranks of a learner share gradients.

Denominators are global (`StepTotals`), so ranks add their gradients; they never average. Ranks may have
different numbers of micro-batches, none included: communication happens once an optimizer step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 64 * 2**20
T = TypeVar("T")


class Strategy(Protocol):
    """What a learner needs to know of its peers."""

    rank: int
    world_size: int

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its sum over ranks; a missing gradient counts as zero."""
        ...

    def sum_values(self, values: Tensor) -> Tensor:
        """The sum over ranks of a small float64 vector on the CPU; the same on every rank."""
        ...

    def gather(self, value: T) -> list[T]:
        """What every rank gave, by rank; the same on every rank. For small picklable values, and as a barrier."""
        ...


class SingleProcess:
    """One rank, nothing to share."""

    rank = 0
    world_size = 1

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Nothing to add."""

    def sum_values(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def gather(self, value: T) -> list[T]:
        """The value itself."""
        return [value]


class DataParallel:
    """Every rank holds the whole model; gradients are summed in flat buckets over gloo or NCCL."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """All-reduce in buckets of about 64 MiB, in parameter order."""
        for bucket in _buckets(parameters):
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
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        total = values.to(device, copy=True)
        dist.all_reduce(total)
        return total.cpu()

    def gather(self, value: T) -> list[T]:
        """All-gather of pickled objects between the ranks of this job."""
        values: list[T | None] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]


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
