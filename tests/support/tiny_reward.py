"""A tiny random reward model over the tiny policy's tokens, saved as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path


def save_tiny_reward_model(policy: Path, folder: Path, *, seed: int = 0) -> Path:
    """Write a classifier of one label whose decoder is that of the tiny model in `policy`."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(policy, num_labels=1)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(policy).save_pretrained(folder)
    return folder


def save_tiny_reward_adapter(policy: Path, folder: Path) -> Path:
    """Write an adapter and a score head over the tiny model in `policy`, neither of them zero."""
    import torch

    from medray.config.model import LoraConfig, ModelConfig
    from medray.models.load import load_reward_model

    model = load_reward_model(ModelConfig(path=str(policy), lora=LoraConfig(rank=2)), seed=5)
    with torch.no_grad():
        for _, parameter in model.trainable():
            parameter.normal_(0, 0.1)
    model.adapter.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder
