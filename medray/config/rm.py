"""The reward-model job."""

from __future__ import annotations

from pydantic import Field

from medray.config.base import Section
from medray.config.data import DataConfig
from medray.config.optim import OptimConfig
from medray.config.parts import ScheduleName
from medray.config.supervised import ChatConfig, SupervisedJob


class BradleyTerryConfig(Section):
    """Bradley-Terry loss on the scores of a chosen and a rejected response."""

    use_margin: bool = True
    """Ask for the margin that the data give a pair (arXiv:2307.09288); pairs without one have 0."""
    centring: float = Field(default=0.0, ge=0)
    """Factor of the squared sum of both scores, which keeps scores around zero (arXiv:2312.09244: 0.01)."""


class RmOptim(OptimConfig):
    """AdamW with the rates usual for this stage."""

    lr: float = Field(default=1e-5, ge=0)
    """Peak learning rate."""
    schedule: ScheduleName = "cosine"
    """As in every job: constant, linear, cosine or wsd."""
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Warm-up as a share of all steps, rounded up."""


class RmData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-preference"
    """Registered schema (`medray data list`); with a path and no kind, auto."""


class RmJob(SupervisedJob):
    """Everything `jobs/rm.py` does is said here."""

    out: str = "runs/rm"
    """Run folder: config, metrics, checkpoints."""
    data: RmData = RmData()  # pyright: ignore[reportIncompatibleVariableOverride]
    chat: ChatConfig = ChatConfig()
    loss: BradleyTerryConfig = BradleyTerryConfig()
    optim: RmOptim = RmOptim()  # pyright: ignore[reportIncompatibleVariableOverride]
