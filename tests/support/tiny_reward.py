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
