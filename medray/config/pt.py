"""The continued-pretraining job."""

from __future__ import annotations

from pydantic import Field

from medray.config.data import DataConfig
from medray.config.optim import OptimConfig
from medray.config.parts import ScheduleName
from medray.config.sft import CrossEntropyConfig
from medray.config.supervised import SupervisedJob


class PtOptim(OptimConfig):
    """AdamW with the rates usual for this stage."""

    lr: float = Field(default=1e-4, ge=0)
    """Peak learning rate."""
    schedule: ScheduleName = "wsd"
    """As in every job: constant, linear, cosine or wsd."""
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Warm-up as a share of all steps, rounded up."""


class PtData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-text"
    """Registered schema (`medray data list`); with a path and no kind, auto."""


class PtJob(SupervisedJob):
    """Everything `jobs/pt.py` does is said here."""

    out: str = "runs/pt"
    """Run folder: config, metrics, checkpoints."""
    data: PtData = PtData()  # pyright: ignore[reportIncompatibleVariableOverride]
    loss: CrossEntropyConfig = CrossEntropyConfig()
    optim: PtOptim = PtOptim()  # pyright: ignore[reportIncompatibleVariableOverride]
    block_tokens: int = Field(default=1024, ge=8)
    """Documents longer than this are cut into blocks; tokens never see another document."""
    append_eos: bool = True
    """End every document with the end-of-text token, which is trained."""
