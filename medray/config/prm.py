"""The process-reward-model job: solutions with labelled steps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Section
from medray.config.data import DataConfig
from medray.config.optim import OptimConfig
from medray.config.parts import ScheduleName
from medray.config.supervised import ChatConfig, SupervisedJob


class StepLossConfig(Section):
    """Cross-entropy on the label of each step, at the token where the step ends."""

    labels: Literal["soft", "hard"] = "soft"
    """soft trains on labels between 0 and 1 as they are; hard rounds them at `threshold`."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """Label from which a step counts as right, in metrics and for hard labels."""
    aggregation: Literal["step", "solution"] = "step"
    """step: mean over all labelled steps of the optimizer step; solution: mean over solutions of their step mean."""


class PrmOptim(OptimConfig):
    """AdamW with the rates usual for this stage."""

    lr: float = Field(default=1e-5, ge=0)
    """Peak learning rate."""
    schedule: ScheduleName = "cosine"
    """As in every job: constant, linear, cosine or wsd."""
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Warm-up as a share of all steps, rounded up."""


class PrmData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-steps"
    """Registered schema (`medray data list`); with a path and no kind, auto."""


class PrmJob(SupervisedJob):
    """Configuration of `jobs/prm.py`."""

    out: str = "runs/prm"
    """Run folder: config, metrics, checkpoints."""
    data: PrmData = PrmData()  # pyright: ignore[reportIncompatibleVariableOverride]
    chat: ChatConfig = ChatConfig()
    loss: StepLossConfig = StepLossConfig()
    optim: PrmOptim = PrmOptim()  # pyright: ignore[reportIncompatibleVariableOverride]
