"""More models on the weights of one: a score head and an adapter of their own, the frozen base held once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from medray.config.model import LoraConfig
from medray.errors import ModelError
from medray.models.adapters.folder import base_of, is_adapter
from medray.models.adapters.lora import add_adapter, continue_adapter, score_head
from medray.models.fetching.fetch import resolve_model
from medray.models.packed import PolicyModel
from medray.models.reward.model import RewardModel, prepare_scalar_head
from medray.models.tokenizer import load_tokenizer


def critic_on(policy: PolicyModel, lora: LoraConfig, *, checkpoint: str | None) -> RewardModel:
    """A critic on the base of `policy`: a new adapter and a head that says 0, or those of `checkpoint`."""
    model = _scoring(policy)
    if checkpoint is not None:
        model.adapter = continue_adapter(model.module, checkpoint)
    else:
        model.adapter = add_adapter(model.module, lora, resized=False)
    model.module.eval()
    return model


def reward_model_on(policy: PolicyModel, path: str) -> RewardModel:
    """The reward model whose adapter and head lie at `path`, on the base of `policy`; frozen.

    Raises:
        ModelError: it is no adapter, or one of another base.
    """
    folder = resolve_model(path)
    if not is_adapter(folder):
        raise ModelError(
            f"reward model {path}: roles.layout=shared needs a reward model trained as an adapter (model.lora={{}} in "
            "jobs/rm.py): retrain it, or set roles.layout=separate"
        )
    base, own = resolve_model(base_of(folder)), resolve_model(policy.config.path)
    if base != own:
        raise ModelError(
            f"reward model {path}: its base {base} differs from the policy's base {own}: set model.path to it, or "
            "roles.layout=separate"
        )
    model = _scoring(policy)
    model.adapter = continue_adapter(model.module, Path(folder))
    model.adapter.requires_grad_(False)
    model.module.eval()
    return model


def _scoring(policy: PolicyModel) -> RewardModel:
    """The policy's decoder once more, its tensors shared and its adapter left out, under a head that says 0."""
    tokenizer = load_tokenizer(policy.config)
    clone = _clone(policy.module)
    config = clone.config
    prepare_scalar_head(config, tokenizer)
    try:
        with torch.device("meta"):
            shell = AutoModelForSequenceClassification.from_config(config)
    except ValueError:
        raise ModelError(
            f"model.path={policy.config.path}: transformers has no classifier for {config.model_type}: set "
            "roles.layout=separate and use another critic"
        ) from None
    shell.config = config
    setattr(shell, shell.base_model_prefix, getattr(clone, clone.base_model_prefix))
    head = cast(Any, score_head(shell))
    width = head.weight.shape[1]
    shell.score = nn.Linear(width, 1, bias=head.bias is not None, device=policy.device)
    with torch.no_grad():
        for parameter in shell.score.parameters():
            parameter.zero_()
    shell.requires_grad_(False)
    model = RewardModel(shell, tokenizer, policy.config)
    model.sharing = policy.sharing
    return model


def _clone(module: PreTrainedModel) -> PreTrainedModel:
    """A copy of the modules around the same tensors, adapters taken out."""
    tensors = [*module.parameters(), *module.buffers()]
    clone = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    for name, child in list(clone.named_modules()):
        plain = _without_adapter(child)
        if plain is not None:
            owner, _, leaf = name.rpartition(".")
            setattr(clone.get_submodule(owner), leaf, plain)
    return clone


def _without_adapter(child: nn.Module) -> nn.Module | None:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    if isinstance(child, BaseTunerLayer):
        return cast(nn.Module, child.get_base_layer())
    if isinstance(child, AuxiliaryTrainingWrapper):
        return cast(nn.Module, child.original_module)
    return None
