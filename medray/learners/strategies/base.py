"""What a learner needs to know of its peers.

Denominators are global (`StepTotals`), so ranks add their gradients; they never average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from medray.config.optim import OptimConfig
from medray.models.packed import PackedModel
from medray.models.weight_placement import WeightPlacement

T = TypeVar("T")


class Strategy(WeightPlacement, Protocol):
    """Holds a model with its peers and steps it.

    Ranks may have different numbers of rows, none included: `align_passes` says how many passes each must run.
    """

    rank: int
    world_size: int
    optimizer: torch.optim.Optimizer

    def take(self, policy: PackedModel, optim: OptimConfig) -> None:
        """Spread the model over the ranks, each of which has loaded it whole; becomes `policy.placement`."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this rank's `loss`, which `run` returned."""
        ...

    def step(self, rate: float) -> float:
        """Add gradients over ranks, clip them, take one optimizer step at learning rate `rate`.

        Returns:
            The L2 norm of the gradient before clipping, over all parameters. Where it is not finite the weights are
            left as they were.
        """
        ...

    def sum_values(self, values: Tensor) -> Tensor:
        """The sum over ranks of a small float64 vector on the CPU; the same on every rank."""
        ...

    def gather(self, value: T) -> list[T]:
        """What every rank gave, by rank; the same on every rank. For small picklable values, and as a barrier."""
        ...

    def optimizer_state(self) -> Iterator[tuple[str, Tensor]]:
        """Pairs ("exp_avg.<parameter>", whole tensor) and the like; every rank must go through all of them.

        The names and tensors are the same for every strategy and number of ranks.
        """
        ...

    def load_optimizer_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `optimizer_state` gave, under this or another strategy."""
        ...


class Root(nn.Module):
    """The module that sharding libraries hook: its forward pass is whatever is computed with the model.

    The learner calls the decoder and the output head one by one; inside this forward pass the weights that lie
    outside the layers, the head's among them, are in place throughout.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Tensor | None]) -> Tensor | None:
        """Call `compute`, which returns the loss, or None where there is no gradient."""
        return compute()


def run_hooked(root: nn.Module, compute: Callable[[], T]) -> T:
    """`compute()` inside the forward pass of a `Root`; a tensor goes through its hooks."""
    found: list[T] = []

    def forward() -> Tensor | None:
        result = compute()
        found.append(result)
        return result if isinstance(result, Tensor) else None

    hooked = root(forward)
    return found[0] if hooked is None else hooked


def peer_device() -> str:
    """Where tensors must be for the default process group to send them."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


def reduced(values: Tensor, op: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    """A small vector on the CPU, reduced over ranks."""
    total = values.to(peer_device(), copy=True)
    dist.all_reduce(total, op)
    return total.cpu()


def from_all(value: T, world_size: int) -> list[T]:
    """All-gather of pickled objects between the ranks of this job."""
    values: list[T | None] = [None] * world_size
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def common_plan(passes: list[int]) -> list[int]:
    """The largest number of passes that any rank's n-th row takes, for every n that any rank has.

    Each pass gathers weights from all ranks. A rank that runs fewer than its peers would leave them waiting in a
    collective without a deadline, so all agree on the number first.
    """
    num_rows = int(reduced(torch.tensor([len(passes)]), dist.ReduceOp.MAX))
    own = torch.tensor(passes + [1] * (num_rows - len(passes)), dtype=torch.int64)
    return reduced(own, dist.ReduceOp.MAX).tolist()
