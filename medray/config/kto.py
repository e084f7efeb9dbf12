"""The KTO job: responses labelled desirable or not, without partners."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.dpo import Reference
from medray.config.optim import OptimConfig
from medray.config.supervised import ChatConfig, SupervisedJob, require_reference


class KtoConfig(Section):
    """KTO (arXiv:2402.01306)."""

    beta: float = Field(default=0.1, gt=0)
    """Scale of the log ratio to the reference."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """Weight of desirable responses. The authors keep the ratio of weight times count, desirable to undesirable,
    between 1 and 4/3."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """Weight of undesirable responses."""
    reference_point: Literal["mismatched", "zero"] = "mismatched"
    """What gains are measured from: the KL to the reference, estimated on prompts with another prompt's response; or
    nothing, which saves that pass."""
    reference: Reference = "auto"
    """adapter_off: the base under the adapter; separate: a frozen copy; precomputed: scored once before training and
    cached. auto: adapter_off for adapters, else precomputed."""


class KtoJob(SupervisedJob):
    """Everything `jobs/kto.py` does is said here."""

    out: str = "runs/kto"
    """Run folder: config, metrics, checkpoints."""
    chat: ChatConfig = ChatConfig()
    loss: KtoConfig = KtoConfig()
    optim: OptimConfig = OptimConfig(lr=1e-6, schedule="cosine", warmup_ratio=0.1)

    @model_validator(mode="after")
    def _reference_is_there(self) -> Self:
        require_reference(self.loss.reference, self.model)
        return self
