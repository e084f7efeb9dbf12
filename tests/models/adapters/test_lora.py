"""Adapters: what they cover, what is saved with them, and where a new one goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from medray.config.model import LoraConfig, ModelConfig
from medray.errors import ModelError
from medray.models.adapters.lora import add_adapter, find_linear_targets
from medray.models.checkpoints.export import named_weights, tied_names
from medray.models.load import PolicyModel, load_policy
from tests.support.tiny import save_tiny_model

TEXT = torch.tensor([[1, 40, 7, 99, 12, 3, 250]])


@pytest.fixture(scope="module")
def untied_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "untied", tied=False)


@pytest.fixture(scope="module")
def longer_tokenizer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's tokenizer with more tokens than the model has rows."""
    folder = tmp_path_factory.mktemp("tokenizers") / "longer"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_tokens([f"<term-{i}>" for i in range(70)])
    tokenizer.save_pretrained(folder)
    return folder


def _logits(policy: PolicyModel) -> torch.Tensor:
    """Through the model's own forward pass, on its own attention."""
    policy.module.set_attn_implementation("sdpa")
    with torch.no_grad():
        return policy.module(TEXT).logits


def _shaken(policy: PolicyModel) -> PolicyModel:
    """The policy with its trainable weights moved, so that an adapter does something."""
    torch.manual_seed(5)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return policy


def _adapter(model: Path, folder: Path, **lora: object) -> PolicyModel:
    """A policy with an adapter that does something, saved under `folder`."""
    settings = LoraConfig.model_validate({"rank": 4, **lora})
    policy = _shaken(load_policy(ModelConfig(path=str(model), lora=settings)))
    policy.adapter.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return policy


def test_targets_are_all_linear_modules_but_the_head(tiny_model: Path) -> None:
    policy = load_policy(ModelConfig(path=str(tiny_model)))
    assert find_linear_targets(policy.module) == [
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    ]  # fmt: skip


@pytest.mark.parametrize("lora", [{}, {"rslora": True}, {"dora": True}])
def test_exported_weights_are_those_of_the_adapted_model(
    tiny_model: Path, tmp_path: Path, lora: dict[str, object]
) -> None:
    policy = _adapter(tiny_model, tmp_path, **lora)
    plain = load_policy(ModelConfig(path=str(tiny_model)))
    plain.module.load_state_dict(dict(named_weights(policy)), strict=False)
    assert (
        _logits(plain) - _logits(load_policy(ModelConfig(path=str(tiny_model))))
    ).abs().max() > 0.1
    torch.testing.assert_close(_logits(plain), _logits(policy), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_saved_with_an_adapter(
    tiny_model: Path, untied_model: Path, tmp_path: Path, tied: bool
) -> None:
    """They are trained, exported and merged whole, and the output head stays tied where it was."""
    model = tiny_model if tied else untied_model
    policy = _adapter(model, tmp_path / "adapter", modules_to_save=("embeddings",))
    trained = [n for n, _ in policy.trainable() if "modules_to_save" in n]
    assert len(trained) == (1 if tied else 2)
    weights = dict(named_weights(policy))
    plain = load_policy(ModelConfig(path=str(model)))
    assert weights.keys() == dict(named_weights(plain)).keys()
    assert tied_names(policy) == tied_names(plain)
    assert len(tied_names(policy)) == (1 if tied else 0)
    before = plain.module.get_input_embeddings().weight.detach().clone()
    assert (weights["model.embed_tokens.weight"] - before).abs().max() > 0.01
    merged = load_policy(ModelConfig(path=str(tmp_path / "adapter")))
    torch.testing.assert_close(_logits(merged), _logits(policy), rtol=1e-4, atol=1e-4)
    head = merged.module.get_output_embeddings().weight
    assert (head is merged.module.get_input_embeddings().weight) == tied


def test_base_is_back_when_the_adapter_is_off(tiny_model: Path, tmp_path: Path) -> None:
    policy = _adapter(tiny_model, tmp_path, modules_to_save=("embeddings",))
    plain = load_policy(ModelConfig(path=str(tiny_model)))
    with policy.without_adapter():
        off = _logits(policy)
    assert torch.equal(off, _logits(plain))
    assert not torch.allclose(_logits(policy), off, atol=0.1)


def test_new_tokens_start_from_the_mean_and_are_trained(
    tiny_model: Path, longer_tokenizer: Path, tmp_path: Path
) -> None:
    config = ModelConfig(path=str(tiny_model), tokenizer=str(longer_tokenizer))
    policy = load_policy(config)
    weight = policy.module.get_input_embeddings().weight.detach()
    num_tokens = len(policy.tokenizer)
    assert weight.shape[0] == num_tokens > 320
    torch.testing.assert_close(weight[320:], weight[:320].mean(0).expand(num_tokens - 320, -1))
    assert policy.head().weight.shape[0] == num_tokens
    lora = LoraConfig(rank=4)
    with pytest.raises(ModelError, match=r"modules_to_save=\[embeddings\]"):
        load_policy(config.model_copy(update={"lora": lora}))
    lora = LoraConfig(rank=4, modules_to_save=("embeddings",))
    adapted = _shaken(load_policy(config.model_copy(update={"lora": lora})))
    adapted.adapter.save_pretrained(tmp_path)
    adapted.tokenizer.save_pretrained(tmp_path)
    merged = load_policy(ModelConfig(path=str(tmp_path)))
    torch.testing.assert_close(_logits(merged), _logits(adapted), rtol=1e-4, atol=1e-4)


def test_an_adapter_is_trained_further(tiny_model: Path, tmp_path: Path) -> None:
    policy = _adapter(tiny_model, tmp_path)
    lora = LoraConfig(rank=16)
    config = ModelConfig(path=str(tiny_model), adapter=str(tmp_path), lora=lora)
    continued = load_policy(config)
    assert [n for n, _ in continued.trainable()] == [n for n, _ in policy.trainable()]
    for (name, a), (_, b) in zip(continued.trainable(), policy.trainable(), strict=True):
        assert torch.equal(a, b), name
    assert torch.equal(_logits(continued), _logits(policy))


def test_a_new_adapter_starts_from_what_an_old_one_made(tiny_model: Path, tmp_path: Path) -> None:
    """`path` names the old adapter: it is merged, and with the new one off the model is that mixture."""
    old = _adapter(tiny_model, tmp_path)
    new = load_policy(ModelConfig(path=str(tmp_path), lora=LoraConfig(rank=2)))
    torch.testing.assert_close(_logits(new), _logits(old), rtol=1e-4, atol=1e-4)
    _shaken(new)
    with new.without_adapter():
        torch.testing.assert_close(_logits(new), _logits(old), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(_logits(new), _logits(old), atol=0.05)


def test_wrong_names_are_one_line(tiny_model: Path, tmp_path: Path) -> None:
    for lora, message in [
        (LoraConfig(targets=("no_proj",)), "model.lora.targets"),
        (LoraConfig(modules_to_save=("no_module",)), "no module named 'no_module'"),
    ]:
        with pytest.raises(ModelError, match=message) as caught:
            load_policy(ModelConfig(path=str(tiny_model), lora=lora))
        assert "\n" not in str(caught.value)
    empty = tmp_path / "empty"
    empty.mkdir()
    config = ModelConfig(path=str(tiny_model), adapter=str(empty), lora=LoraConfig())
    with pytest.raises(ModelError, match="adapter"):
        load_policy(config)


def test_adapter_onto_quantised_base_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    _adapter(tiny_model, tmp_path)
    config = ModelConfig(path=str(tmp_path), quantisation="4bit", lora=LoraConfig())
    with pytest.raises(ModelError, match="medray merge"):
        load_policy(config)


AMBIGUOUS = {
    "gemma3n_text": {
        "vocab_size": 64, "vocab_size_per_layer_input": 64, "hidden_size": 32, "hidden_size_per_layer_input": 16,
        "intermediate_size": [32] * 4, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 16, "laurel_rank": 4, "num_kv_shared_layers": 0, "layer_types": ["full_attention"] * 4,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "zamba2": {
        "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "mamba", "hybrid", "mamba"], "hybrid_layer_ids": [2],
        "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32, "mamba_d_state": 8,
        "n_mamba_heads": 2, "mamba_expand": 2, "chunk_size": 8, "adapter_rank": 4, "num_mem_blocks": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("family", AMBIGUOUS)
def test_all_reaches_linear_modules_that_are_called_like_layers(family: str) -> None:
    """A linear module "2" of a list must not make a target of the decoder layer 2."""
    module = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **AMBIGUOUS[family]))
    expected = {
        name
        for name, child in module.named_modules()
        if isinstance(child, torch.nn.Linear) and name != "lm_head" and "out_proj" not in name
    }

    adapter = add_adapter(module, LoraConfig(), resized=False)

    found = {
        name.removeprefix("base_model.model.")
        for name, child in adapter.named_modules()
        if hasattr(child, "lora_A")
    }
    assert found == expected
    assert any(name.rsplit(".", 1)[-1].isdigit() for name in found)
