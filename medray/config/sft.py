"""The supervised fine-tuning job, and the loss it shares with pretraining."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Section
from medray.config.optim import OptimConfig
from medray.config.supervised import ChatConfig, SupervisedJob


class CrossEntropyConfig(Section):
    """Negative log-likelihood of the trained tokens."""

    aggregation: Literal["token", "sequence"] = "token"
    """token: mean over all trained tokens of the step; sequence: mean over dialogues of their token mean."""


class SftJob(SupervisedJob):
    """Everything `jobs/sft.py` does is said here."""

    out: str = "runs/sft"
    """Run folder: config, metrics, checkpoints."""
    chat: ChatConfig = ChatConfig()
    loss: CrossEntropyConfig = CrossEntropyConfig()
    optim: OptimConfig = OptimConfig(lr=2e-5, schedule="cosine", warmup_ratio=0.03)
    train: Literal["all", "last"] = "all"
    """Which assistant turns are trained: every one, or only the last of a dialogue."""
    train_on_prompt: bool = False
    """Train the user's and system's tokens too, instead of the assistant's alone."""
    neftune_alpha: float = Field(default=0.0, ge=0)
    """Scale of uniform noise on the embeddings during training (NEFTune, arXiv:2310.05914: 5 to 15); 0 adds none."""
