"""The ORPO job: preference and imitation in one loss, without a reference."""

from __future__ import annotations

from pydantic import Field

from medray.config.base import Section
from medray.config.optim import OptimConfig
from medray.config.supervised import ChatConfig, SupervisedJob


class OddsRatioConfig(Section):
    """ORPO (arXiv:2403.07691)."""

    weight: float = Field(default=0.1, ge=0)
    """Factor (lambda in the paper) of the odds-ratio term beside the chosen response's negative log-likelihood."""


class OrpoJob(SupervisedJob):
    """Everything `jobs/orpo.py` does is said here."""

    out: str = "runs/orpo"
    """Run folder: config, metrics, checkpoints."""
    chat: ChatConfig = ChatConfig()
    loss: OddsRatioConfig = OddsRatioConfig()
    optim: OptimConfig = OptimConfig(lr=8e-6, schedule="cosine", warmup_ratio=0.1)
