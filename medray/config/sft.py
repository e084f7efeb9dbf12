"""The supervised fine-tuning job, and the loss it shares with pretraining."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Section
from medray.config.data import DataConfig
from medray.config.optim import OptimConfig
from medray.config.parts import ScheduleName
from medray.config.supervised import ChatConfig, SupervisedJob


class CrossEntropyConfig(Section):
    """Negative log-likelihood of the trained tokens."""

    aggregation: Literal["token", "sequence"] = "token"
    """token: mean over all trained tokens of the step; sequence: mean over dialogues of their token mean."""


class SftOptim(OptimConfig):
    """AdamW with the rates usual for this stage."""

    lr: float = Field(default=2e-5, ge=0)
    """Peak learning rate."""
    schedule: ScheduleName = "cosine"
    """As in every job: constant, linear, cosine or wsd."""
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Warm-up as a share of all steps, rounded up."""


class SftData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-sft"
    """Registered schema (`medray data list`); with a path and no kind, auto."""


class SftJob(SupervisedJob):
    """Everything `jobs/sft.py` does is said here."""

    out: str = "runs/sft"
    """Run folder: config, metrics, checkpoints."""
    data: SftData = SftData()  # pyright: ignore[reportIncompatibleVariableOverride]
    chat: ChatConfig = ChatConfig()
    loss: CrossEntropyConfig = CrossEntropyConfig()
    optim: SftOptim = SftOptim()  # pyright: ignore[reportIncompatibleVariableOverride]
    train: Literal["all", "last"] = "all"
    """Which assistant turns are trained: every one, or only the last of a dialogue."""
    train_on_prompt: bool = False
    """Train the user's and system's tokens too, instead of the assistant's alone."""
    neftune_alpha: float = Field(default=0.0, ge=0)
    """Scale of uniform noise on the embeddings during training (NEFTune, arXiv:2310.05914: 5 to 15); 0 adds none."""
