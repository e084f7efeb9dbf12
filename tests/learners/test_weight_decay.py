"""Which parameters weight decay shrinks, over architectures whose parameters' shapes do not tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.learners.strategies.adamw import adamw, is_decayed
from medray.learners.strategies.replicated import SingleProcess
from medray.models.load import load_policy
from tests.support.families import save_family

SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "moe_intermediate_size": 16,
}  # fmt: skip
EXPERTS = {
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4,
    "num_experts_per_tok": 2, "moe_k": 2, "moe_num_shared_experts": 1, "moe_layer_start_index": 0,
}  # fmt: skip
FAMILIES = ("llama", "qwen2", "qwen3", "gemma3_text", "gpt2", "gpt_oss", "ernie4_5_moe", "mamba")


def model_of(family: str) -> nn.Module:
    known = AutoConfig.for_model(family)
    sizes = {k: v for k, v in (SIZES | EXPERTS).items() if hasattr(known, k)}
    if family == "gpt2":
        sizes = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}
    if family == "mamba":
        sizes |= {"state_size": 8, "num_hidden_layers": 2}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes))


def by_kind(module: nn.Module) -> set[str]:
    """Names of the weights of products, embeddings and convolutions, and of experts in one tensor, by their modules."""
    products = (nn.Linear, nn.Embedding, nn.Conv1d)
    found = set()
    for path, child in module.named_modules():
        for name, parameter in child.named_parameters(recurse=False):
            is_product = isinstance(child, products) or type(child).__name__ == "Conv1D"
            is_router = type(child).__name__.endswith("Router") and name == "weight"
            is_expert = parameter.ndim == 3 and not name.endswith("bias")
            if (is_product and name == "weight") or is_router or is_expert:
                found.add(f"{path}.{name}")
    return found & {name for name, _ in module.named_parameters()}  # tied weights once


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_products_are_decayed_and_nothing_else(family: str) -> None:
    module = model_of(family)

    decayed = {name for name, p in module.named_parameters() if is_decayed(name, p)}

    assert decayed == by_kind(module)


def test_a_parameter_that_the_architecture_froze_stays_frozen(
    tiny_model: Path, tmp_path: Path
) -> None:
    save_family(tmp_path, "llama", tiny_model)
    policy = load_policy(ModelConfig(path=str(tmp_path)))
    assert all(p.requires_grad for p in policy.module.parameters())

    module = model_of("ernie4_5_moe")
    frozen = [n for n, p in module.named_parameters() if not p.requires_grad]
    assert [n.rsplit(".", 1)[-1] for n in frozen] == ["e_score_correction_bias"] * len(frozen)
    assert frozen
    module.save_pretrained(tmp_path / "ernie")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "ernie" / name).write_bytes((tiny_model / name).read_bytes())
    loaded = load_policy(ModelConfig(path=str(tmp_path / "ernie")))
    assert [n for n, p in loaded.module.named_parameters() if not p.requires_grad] == frozen
    assert not any(p.requires_grad for p in load_policy(
        ModelConfig(path=str(tmp_path / "ernie")), trainable=False).module.parameters())  # fmt: skip


def test_a_parameter_without_a_gradient_is_decayed_as_where_ranks_sum_theirs() -> None:
    strategy, optim = SingleProcess(), OptimConfig(lr=0.1, weight_decay=0.5)
    used, unused = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    strategy.parameters, strategy.max_grad_norm = [used, unused], 1.0
    strategy.optimizer = adamw([("a.weight", used), ("b.weight", unused)], optim)

    used.sum().backward()
    strategy.step(0.1)

    torch.testing.assert_close(unused, torch.full((2, 2), 1 - 0.1 * 0.5))
