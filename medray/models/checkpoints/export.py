"""The model's weights under their Hugging Face names, whole and merged, as an engine or a file wants them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medray.models.adapters.lora_factors import LoraFactors, lora_factors_of, merged
from medray.models.packed import PackedModel


def named_weights(policy: PackedModel) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for every weight the model stores, adapters merged in, in `config.dtype`.

    A tied output head is stored once; `tied_names` says under which other names it must be delivered. Weights that
    are spread over ranks are gathered a layer at a time: every rank must go through all of it if one does.
    """
    module, dtype = policy.module, getattr(torch, policy.config.dtype)
    adapted = _adapted_layers(module) if policy.adapter is not None else {}
    seen: set[str] = set()
    with torch.no_grad():
        for names in policy.placement.gathered(module):
            for name in names:
                plain = _plain_name(name)
                if plain is None or plain in seen:
                    continue
                seen.add(plain)
                owner, _, leaf = plain.rpartition(".")
                layer = adapted.get(owner)
                if layer is not None and leaf == "weight":
                    weight = _merged(layer).to(dtype)
                else:
                    weight = _dequantised(module, name, module.get_parameter(name)).to(dtype)
                # What was gathered is let go of after its part.
                yield plain, weight.clone() if policy.placement.sharded else weight


@dataclass(frozen=True)
class AdapterParts:
    """The weights of a model with an adapter, by how often an engine has to be given them."""

    untouched: dict[str, Tensor]  # training leaves them alone
    whole: dict[str, Tensor]  # trained as they are, or adapted in a way that only merging tells
    bases: dict[str, Tensor]  # of `factors`, in the dtype that they are added in
    factors: dict[str, LoraFactors]


def adapter_parts(policy: PackedModel) -> AdapterParts:
    """What `named_weights` yields, not yet merged; for weights that one process holds whole."""
    module, dtype = policy.module, getattr(torch, policy.config.dtype)
    adapted = _adapted_layers(module)
    parts = AdapterParts({}, {}, {}, {})
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            plain = _plain_name(name)
            if plain is None:
                continue
            owner, _, leaf = plain.rpartition(".")
            layer = adapted.get(owner) if leaf == "weight" else None
            factors = None if layer is None else lora_factors_of(layer)
            if layer is not None and factors is not None:
                base = layer.get_base_layer()
                parts.bases[plain] = _plain(base.weight, base).detach()
                parts.factors[plain] = factors
            elif layer is not None:
                parts.whole[plain] = _merged(layer).to(dtype)
            else:
                kind = parts.whole if parameter.requires_grad else parts.untouched
                kind[plain] = _dequantised(module, name, parameter).to(dtype)
    return parts


def stored_weights(policy: PackedModel) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for what a checkpoint of `policy` holds, whole, unmerged and in the dtype it is held in.

    These are all the weights, or under LoRA the trained ones; names are those of the adapter's or the model's
    state dict, a shared weight has the first of them. Every rank must go through all of it if one does.
    """
    top = policy.adapter or policy.module
    with torch.no_grad():
        for names in policy.placement.gathered(top):
            for name in names:
                parameter = top.get_parameter(name)
                if policy.adapter is None or parameter.requires_grad:
                    weight = parameter.detach()
                    yield name, weight.clone() if policy.placement.sharded else weight


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


def shared_names(module: nn.Module) -> dict[str, str]:
    """Every other name of a parameter that has several, with the one that `named_parameters` gives."""
    stored = {id(p): n for n, p in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {name: stored[id(p)] for name, p in every if stored[id(p)] != name}


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
    factors = lora_factors_of(layer)
    if factors is not None:
        return merged(weight, factors)
    return weight + layer.get_delta_weight("default").to(weight.dtype)


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
