"""An adapted layer's weight taken apart: the frozen base, and the low-rank factors that change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """What training changes of one weight W [O, I]: W = base + scaling * up @ down, renormalised under DoRA."""

    down: Tensor  # [R, I]
    up: Tensor  # [O, R]
    scaling: float
    magnitude: Tensor | None = None  # [O]

    def on_host(self) -> LoraFactors:
        """The same in host memory, apart from the model."""
        magnitude = None if self.magnitude is None else self.magnitude.detach().cpu()
        return LoraFactors(
            self.down.detach().cpu(), self.up.detach().cpu(), self.scaling, magnitude
        )


def lora_factors_of(layer: Any) -> LoraFactors | None:
    """The factors of a PEFT layer's adapter; None where it is more than one product of two matrices."""
    down, up = layer.lora_A, layer.lora_B
    if "default" not in down or getattr(layer, "fan_in_fan_out", False):
        return None
    down, up = down["default"], up["default"]
    if not (isinstance(down, nn.Linear) and isinstance(up, nn.Linear)) or up.bias is not None:
        return None
    magnitude = None
    if layer.use_dora.get("default", False):
        magnitude = layer.lora_magnitude_vector["default"].weight
    return LoraFactors(down.weight, up.weight, layer.scaling["default"], magnitude)


def merged(base: Tensor, factors: LoraFactors) -> Tensor:
    """The whole weight, in the base's dtype."""
    weight = base + ((factors.up @ factors.down) * factors.scaling).to(base.dtype)
    if factors.magnitude is None:
        return weight
    # DoRA (arXiv:2402.09353, eq. 5): the direction is renormalised per output row, then scaled.
    return weight * (factors.magnitude / weight.norm(dim=1))[:, None]
