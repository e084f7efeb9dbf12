"""The continued-pretraining job."""

from __future__ import annotations

from pydantic import Field

from medray.config.optim import OptimConfig
from medray.config.sft import CrossEntropyConfig
from medray.config.supervised import SupervisedJob


class PtJob(SupervisedJob):
    """Everything `jobs/pt.py` does is said here."""

    out: str = "runs/pt"
    """Run folder: config, metrics, checkpoints."""
    loss: CrossEntropyConfig = CrossEntropyConfig()
    optim: OptimConfig = OptimConfig(lr=1e-4, schedule="wsd", warmup_ratio=0.03)
    block_tokens: int = Field(default=1024, ge=8)
    """Documents longer than this are cut into blocks; tokens never see another document."""
    append_eos: bool = True
    """End every document with the end-of-text token, which is trained."""
