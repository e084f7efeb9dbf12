"""Who holds a model's weights, and what computing with them takes of the others who hold a part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class WeightPlacement(Protocol):
    """Runs passes over a model whose weights may be spread over ranks."""

    sharded: bool
    """True where weights are whole during `run` and `gathered` only."""

    def align_passes(self, passes: Sequence[int]) -> list[int]:
        """How many passes through the decoder each `run` takes, so that no rank waits for one that never comes.

        Args:
            passes: what this rank's rows take, one `run` a row.

        Returns:
            At least as many runs, each with at least as many passes; what is added computes nothing of use.
        """
        ...

    def run(self, compute: Callable[[], T]) -> T:
        """Call `compute` with the weights in place; a tensor it returns carries their gradients."""
        ...

    def gathered(self, module: nn.Module) -> Iterator[list[str]]:
        """Go through the weights part by part: while the loop's body runs, the named ones are whole.

        Every rank must go through all parts if one does. Names are those of `module.named_parameters()`.
        """
        ...


class Unsharded:
    """One process holds everything."""

    sharded = False

    def align_passes(self, passes: Sequence[int]) -> list[int]:
        """Return `passes` unchanged: no other rank has to take part in them."""
        return list(passes)

    def run(self, compute: Callable[[], T]) -> T:
        """Run `compute` as it is: every weight is on this rank."""
        return compute()

    def gathered(self, module: nn.Module) -> Iterator[list[str]]:
        """Yield the names of all weights, in one round."""
        yield [name for name, _ in module.named_parameters()]


def whole_shape(parameter: Tensor) -> torch.Size:
    """Shape of a weight, also between passes, when DeepSpeed has an empty tensor in its place."""
    return torch.Size(getattr(parameter, "ds_shape", parameter.shape))


def layer_stacks(module: nn.Module) -> list[nn.Module]:
    """The layers of a model in order: the members of its outermost module lists."""
    layers: list[nn.Module] = []
    inside: set[int] = set()
    for child in module.modules():
        if id(child) in inside:
            continue
        if isinstance(child, nn.ModuleList):
            layers += [layer for layer in child if any(True for _ in layer.parameters())]
            inside |= {id(m) for m in child.modules()}
    return layers


def parts_of(module: nn.Module, layers: Sequence[nn.Module]) -> list[list[str]]:
    """Names of `module`'s parameters in each of `layers`, and last those that are in none."""
    number = {id(layer): i for i, layer in enumerate(layers)}
    prefixes = {
        path + ".": number[id(child)]
        for path, child in module.named_modules()
        if id(child) in number
    }
    parts: list[list[str]] = [[] for _ in range(len(layers) + 1)]
    for name, _ in module.named_parameters():
        part = next((i for p, i in prefixes.items() if name.startswith(p)), len(layers))
        parts[part].append(name)
    return parts
