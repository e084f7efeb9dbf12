"""AdamW over a model's trained parameters, and its state under names that no strategy changes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from medray.config.optim import OptimConfig

STATE_KEYS = ("exp_avg", "exp_avg_sq")
NOT_DECAYED = re.compile(
    r"bias|(?:^|[._])(?:\w*norm\w*|ln_\w+|A_log|D|dt_bias|sinks)(?:$|\.(?:weight|original0|default)$)",
    re.IGNORECASE,
)
"""Names of parameters, of any shape, that are no matrices of products."""
NamedParameters = Sequence[tuple[str, nn.Parameter]]


def adamw(parameters: NamedParameters, config: OptimConfig) -> torch.optim.AdamW:
    """Return the optimizer over named parameters: `is_decayed` says which of them weight decay shrinks."""
    decayed = [p for name, p in parameters if is_decayed(name, p)]
    plain = [p for name, p in parameters if not is_decayed(name, p)]
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


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: to the matrices of products and embeddings, not to biases, norms or gates.

    The number of axes does not tell: the biases of experts are stored as [experts, out], the correction bias of a
    router as [1, experts], Mamba's state matrix as [channels, states]. transformers' Trainer goes by names, too
    (`Trainer.get_decay_parameter_names`); `_no_weight_decay` is Mamba's own mark.
    """
    return (
        parameter.ndim >= 2
        and not getattr(parameter, "_no_weight_decay", False)
        and NOT_DECAYED.search(name) is None
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
