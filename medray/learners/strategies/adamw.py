"""AdamW over a model's trained parameters, and its state under names that no strategy changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from medray.config.optim import OptimConfig

STATE_KEYS = ("exp_avg", "exp_avg_sq")
NamedParameters = Sequence[tuple[str, nn.Parameter]]


def adamw(parameters: Sequence[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """The optimizer; vectors (biases, norms) are not decayed."""
    decayed = [p for p in parameters if p.ndim >= 2]
    plain = [p for p in parameters if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )


def named_state(
    optimizer: torch.optim.Optimizer, parameters: NamedParameters
) -> Iterator[tuple[str, Tensor]]:
    """Pairs of "key.parameter" and tensor; none for a parameter that was never stepped."""
    for name, parameter in parameters:
        for key, value in optimizer.state.get(parameter, {}).items():
            yield f"{key}.{name}", value


def saved_state(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor] | None:
    """One parameter's state; None where there is none yet."""
    if f"step.{name}" not in tensors:
        return None
    return {key: tensors[f"{key}.{name}"] for key in ("step", *STATE_KEYS)}
