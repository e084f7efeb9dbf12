"""The model's weights under their Hugging Face names, whole and merged, as an engine or a file wants them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from medray.models.packed import PackedModel


def named_weights(policy: PackedModel) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for every weight the model stores, adapters merged in, in `config.dtype`.

    A tied output head is stored once; `tied_names` says under which other names it must be delivered.
    """
    module, dtype = policy.module, getattr(torch, policy.config.dtype)
    adapted = _adapted_layers(module) if policy.adapter is not None else {}
    seen: set[str] = set()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            plain = _plain_name(name)
            if plain is None or plain in seen:
                continue
            seen.add(plain)
            owner, _, leaf = plain.rpartition(".")
            layer = adapted.get(owner)
            if layer is not None and leaf == "weight":
                yield plain, _merged(layer).to(dtype)
            else:
                yield plain, _dequantised(module, name, parameter).to(dtype)


def tied_names(policy: PackedModel) -> dict[str, str]:
    """Names that share another weight's storage, each with the name that `named_weights` yields.

    An engine that loads a weight update does not know of the tie and would keep its old output head, so a
    tied head has to be delivered under its own name too.
    """
    stored: dict[int, str] = {}
    aliases: dict[str, str] = {}
    for name, parameter in policy.module.named_parameters(remove_duplicate=False):
        plain = _plain_name(name)
        if plain is not None:
            first = stored.setdefault(id(parameter), plain)
            if first != plain:
                aliases[plain] = first
    return aliases


def delivered_weights(policy: PackedModel) -> Iterator[tuple[str, Tensor]]:
    """`named_weights`, and every tied name after the weight whose storage it shares."""
    aliases = {stored: alias for alias, stored in tied_names(policy).items()}
    for name, tensor in named_weights(policy):
        yield name, tensor
        if name in aliases:
            yield aliases[name], tensor


def _plain_name(name: str) -> str | None:
    """The Hugging Face name of a parameter; None for one that is part of an adapter or replaced by it."""
    if ".lora_" in name or ".original_module." in name:
        return None
    return name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")


def _adapted_layers(module: nn.Module) -> dict[str, Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {
        name: layer for name, layer in module.named_modules() if isinstance(layer, BaseTunerLayer)
    }


def _merged(layer: Any) -> Tensor:
    base = layer.get_base_layer()
    weight = _plain(base.weight, base)
    delta = layer.get_delta_weight("default").to(weight.dtype)
    if not layer.use_dora.get("default", False):
        return weight + delta
    # DoRA (arXiv:2402.09353, eq. 5): the direction is renormalised per output row, then scaled.
    merged = weight + delta
    magnitude = layer.lora_magnitude_vector["default"].weight
    return merged * (magnitude / merged.norm(dim=1))[:, None]


def _dequantised(module: nn.Module, name: str, parameter: Tensor) -> Tensor:
    owner = module.get_submodule(name.rpartition(".")[0]) if "." in name else module
    return _plain(parameter, owner).detach()


def _plain(weight: Tensor, owner: Any) -> Tensor:
    kind = type(weight).__name__
    if kind == "Params4bit":
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state)  # type: ignore[attr-defined]
    if kind == "Int8Params":
        state = owner.state
        scale = weight.SCB if getattr(weight, "SCB", None) is not None else state.SCB  # type: ignore[attr-defined]
        return weight.data.float() * (scale.float() / 127.0)[:, None]
    return weight
