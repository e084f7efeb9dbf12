"""The ORPO job: preference and imitation in one loss, without a reference."""

from __future__ import annotations

from pydantic import Field

from medray.config.base import Section
from medray.config.data import DataConfig
from medray.config.optim import OptimConfig
from medray.config.parts import ScheduleName
from medray.config.supervised import ChatConfig, SupervisedJob


class OddsRatioConfig(Section):
    """Odds-ratio preference term of ORPO, arXiv:2403.07691."""

    weight: float = Field(default=0.1, ge=0)
    """Factor (lambda in the paper) of the odds-ratio term beside the chosen response's negative log-likelihood."""


class OrpoOptim(OptimConfig):
    """AdamW with the rates usual for this stage."""

    lr: float = Field(default=8e-6, ge=0)
    """Peak learning rate."""
    schedule: ScheduleName = "cosine"
    """As in every job: constant, linear, cosine or wsd."""
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    """Warm-up as a share of all steps, rounded up."""


class OrpoData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-preference"
    """Registered schema (`medray data list`); with a path and no kind, auto."""


class OrpoJob(SupervisedJob):
    """Everything `jobs/orpo.py` does is said here."""

    out: str = "runs/orpo"
    """Run folder: config, metrics, checkpoints."""
    data: OrpoData = OrpoData()  # pyright: ignore[reportIncompatibleVariableOverride]
    chat: ChatConfig = ChatConfig()
    loss: OddsRatioConfig = OddsRatioConfig()
    optim: OrpoOptim = OrpoOptim()  # pyright: ignore[reportIncompatibleVariableOverride]
