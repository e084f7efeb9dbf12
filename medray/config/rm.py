"""The reward-model job."""

from __future__ import annotations

from pydantic import Field

from medray.config.base import Section
from medray.config.optim import OptimConfig
from medray.config.supervised import ChatConfig, SupervisedJob


class BradleyTerryConfig(Section):
    """Bradley-Terry loss on the scores of a chosen and a rejected response."""

    use_margin: bool = True
    """Ask for the margin that the data give a pair (arXiv:2307.09288); pairs without one have 0."""
    centring: float = Field(default=0.0, ge=0)
    """Factor of the squared sum of both scores, which keeps scores around zero (arXiv:2312.09244: 0.01)."""


class RmJob(SupervisedJob):
    """Everything `jobs/rm.py` does is said here."""

    out: str = "runs/rm"
    """Run folder: config, metrics, checkpoints."""
    chat: ChatConfig = ChatConfig()
    loss: BradleyTerryConfig = BradleyTerryConfig()
    optim: OptimConfig = OptimConfig(lr=1e-5, schedule="cosine", warmup_ratio=0.05)
