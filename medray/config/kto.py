"""The KTO job: responses labelled desirable or not, without partners."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.data import DataConfig
from medray.config.dpo import Reference
from medray.config.optim import OptimConfig
from medray.config.parts import ScheduleName
from medray.config.supervised import ChatConfig, SupervisedJob, require_reference


class KtoConfig(Section):
    """Kahneman-Tversky optimization: KTO, arXiv:2402.01306."""

    beta: float = Field(default=0.1, gt=0)
    """Scale of the log ratio to the reference."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """Weight of desirable responses. The authors keep the ratio of weight times count, desirable to undesirable,
    between 1 and 4/3."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """Weight of undesirable responses."""
    reference_point: Literal["mismatched", "zero"] = "mismatched"
    """Reference point of gains: mismatched estimates the KL to the reference on prompts with other prompts' responses;
    zero saves that pass."""
    reference: Reference = "auto"
    """adapter_off: the base under the adapter; separate: a frozen copy; precomputed: scored once before training and
    cached. auto: adapter_off for adapters, else precomputed, and separate for a prepared folder."""

    @property
    def needs_reference(self) -> bool:
        """Always: both the reward and the reference point are ratios to it."""
        return True


class KtoOptim(OptimConfig):
    """AdamW with the rates usual for this stage."""

    lr: float = Field(default=1e-6, ge=0)
    """Peak learning rate."""
    schedule: ScheduleName = "cosine"
    """As in every job: constant, linear, cosine or wsd."""
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    """Warm-up as a share of all steps, rounded up."""


class KtoData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-preference"
    """Registered schema (`medray data list`); with a path and no kind, auto."""


class KtoJob(SupervisedJob):
    """Configuration of `jobs/kto.py`."""

    out: str = "runs/kto"
    """Run folder: config, metrics, checkpoints."""
    data: KtoData = KtoData()  # pyright: ignore[reportIncompatibleVariableOverride]
    chat: ChatConfig = ChatConfig()
    loss: KtoConfig = KtoConfig()
    optim: KtoOptim = KtoOptim()  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _reference_is_there(self) -> Self:
        require_reference(self.loss.reference, self.model)
        return self
