"""`medray merge`: a folder that transformers loads by itself and that computes the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

from medray.cli import app
from medray.config.model import LoraConfig, ModelConfig
from medray.errors import ConfigError, ModelError
from medray.models.adapters.merge import merge_adapter
from medray.models.load import load_policy, load_reward_model
from medray.models.packed import PackedModel

TEXT = torch.tensor([[1, 40, 7, 99, 12, 3, 250]])


def _save_adapter(model: PackedModel, folder: Path) -> torch.Tensor:
    """Move the adapter, save it, and return the logits it gives."""
    torch.manual_seed(5)
    with torch.no_grad():
        for _, parameter in model.trainable():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.adapter.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    model.module.set_attn_implementation("sdpa")
    with torch.no_grad():
        return model.module(TEXT).logits


def test_causal_model(tiny_model: Path, tmp_path: Path) -> None:
    lora = LoraConfig(rank=4, dora=True)
    policy = load_policy(ModelConfig(path=str(tiny_model), lora=lora))
    before = _save_adapter(policy, tmp_path / "adapter")
    run = CliRunner().invoke(app, ["merge", str(tmp_path / "adapter"), str(tmp_path / "merged")])
    assert run.exit_code == 0, run.output
    assert run.output == f"merged into {tmp_path / 'merged'}\n"
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    with torch.no_grad():
        torch.testing.assert_close(merged(TEXT).logits, before, rtol=1e-4, atol=1e-4)
        base = AutoModelForCausalLM.from_pretrained(tiny_model)(TEXT).logits
    assert (before - base).abs().max() > 0.1
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template


def test_reward_model(tiny_model: Path, tmp_path: Path) -> None:
    model = load_reward_model(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)))
    before = _save_adapter(model, tmp_path / "adapter")
    merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    with torch.no_grad():
        after = merged(TEXT).logits
    assert after.shape == (1, 1)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_larger_vocabulary(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_tokens([f"<new{i}>" for i in range(80)])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    lora = LoraConfig(rank=4, modules_to_save=("embeddings",))
    config = ModelConfig(path=str(tiny_model), tokenizer=str(tmp_path / "tokenizer"), lora=lora)
    before = _save_adapter(load_policy(config), tmp_path / "adapter")
    merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert merged.config.vocab_size == before.shape[-1] == len(tokenizer) > 320
    assert len(AutoTokenizer.from_pretrained(tmp_path / "merged")) == len(tokenizer)
    with torch.no_grad():
        torch.testing.assert_close(merged(TEXT).logits, before, rtol=1e-4, atol=1e-4)


def test_dtype_is_the_bases_or_the_one_asked_for(tiny_model: Path, tmp_path: Path) -> None:
    policy = load_policy(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)))
    _save_adapter(policy, tmp_path / "adapter")
    for dtype, expected in [(None, torch.float32), ("bfloat16", torch.bfloat16)]:
        out = merge_adapter(tmp_path / "adapter", tmp_path / str(dtype), dtype=dtype)
        assert AutoModelForCausalLM.from_pretrained(out).dtype == expected


def test_what_cannot_be_merged_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter"):
        merge_adapter(tiny_model, tmp_path / "out")
    policy = load_policy(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)))
    _save_adapter(policy, tmp_path / "adapter")
    with pytest.raises(ConfigError, match="exists: remove it, or choose another folder"):
        merge_adapter(tmp_path / "adapter", tmp_path)
