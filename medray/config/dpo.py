"""The DPO job and its relatives on preference pairs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.data import DataConfig
from medray.config.optim import OptimConfig
from medray.config.parts import ScheduleName
from medray.config.supervised import ChatConfig, SupervisedJob, require_reference

Reference = Literal["auto", "adapter_off", "separate", "precomputed"]


PreferenceKind = Literal[
    "sigmoid",
    "ipo",
    "robust",
    "hinge",
    "simpo",
    "exo",
    "nca",
    "sppo",
    "apo_zero",
    "apo_down",
    "discopop",
    "bco",
    "aot",
    "aot_unpaired",
]
MARGIN_KINDS = ("sigmoid", "robust", "hinge", "ipo", "exo", "discopop")
"""Losses that read a pair's margin alone."""
SMOOTHED_KINDS = ("sigmoid", "robust", "exo", "aot", "aot_unpaired")
"""Losses that may take some labels for wrong."""


class PreferenceConfig(Section):
    """A loss on the margin between a chosen and a rejected response."""

    kind: PreferenceKind = "sigmoid"
    """sigmoid: DPO (arXiv:2305.18290), conservative DPO with label_smoothing; ipo: arXiv:2310.12036; robust:
    arXiv:2403.00409; hinge: arXiv:2305.10425; simpo: no reference (arXiv:2405.14734); exo: arXiv:2402.00856; nca:
    arXiv:2402.05369; sppo: arXiv:2405.00675; apo_zero and apo_down: arXiv:2408.06266; discopop: arXiv:2406.08414. With
    one more forward pass, in which they read all pairs of a step: bco (arXiv:2404.04656), aot and aot_unpaired
    (arXiv:2406.05882)."""
    beta: float = Field(default=0.1, gt=0)
    """Scale of the margin. 0.1 is usual with a reference; SimPO's authors use 2 to 10."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Assumed share of pairs whose label is wrong; for sigmoid, robust, exo, aot and aot_unpaired."""
    gamma: float = Field(default=0.0, ge=0)
    """Target margin of simpo, in units of beta times the margin."""
    length_normalised: bool | None = None
    """Take log-probabilities per token instead of per response. null: ipo and simpo do; simpo always does."""
    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = "reverse_kl"
    """Divergence to the reference that gives the margin (f-DPO, arXiv:2309.16240); for sigmoid, robust, hinge, ipo, exo
    and discopop."""
    alpha: float = Field(default=0.5, gt=0, lt=1)
    """Parameter of the alpha divergence; small values approach reverse_kl, large ones forward_kl."""
    discopop_tau: float = Field(default=0.05, gt=0)
    """Temperature of discopop's blend of a logistic and an exponential loss."""
    policy_weighting: bool = False
    """Weight a pair by the probability that the policy gives its responses (WPO, arXiv:2406.11827), so that pairs of
    another model's responses act as if the policy had sampled them."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Factor of the chosen response's negative log-likelihood a token, added to the loss (arXiv:2404.19733)."""
    reference: Reference = "auto"
    """adapter_off: the base under the adapter; separate: a frozen copy; precomputed: scored once before training and
    cached. auto: adapter_off for adapters, else precomputed, and separate for a prepared folder. simpo has none."""

    @model_validator(mode="after")
    def _fits_the_kind(self) -> Self:
        if self.label_smoothing and self.kind not in SMOOTHED_KINDS:
            raise ValueError(
                f"label_smoothing has no effect with kind={self.kind}: set it to 0, or set kind to one of "
                f"{', '.join(SMOOTHED_KINDS)}"
            )
        if self.kind in ("robust", "exo") and not self.label_smoothing:
            raise ValueError(
                f"kind={self.kind} needs the share of wrong labels: set label_smoothing above 0 (1e-3 is usual for exo)"
            )
        if self.divergence != "reverse_kl" and self.kind not in MARGIN_KINDS:
            raise ValueError(
                f"kind={self.kind} does not read the margin of divergence={self.divergence}: set it to reverse_kl, "
                f"or kind to one of {', '.join(MARGIN_KINDS)}"
            )
        if self.gamma and self.kind != "simpo":
            raise ValueError(
                f"gamma is the target margin of SimPO: set gamma=0 with kind={self.kind}"
            )
        if self.kind == "simpo" and self.reference != "auto":
            raise ValueError("kind=simpo has no reference model: remove loss.reference")
        return self

    @property
    def needs_reference(self) -> bool:
        """True when trees need a `ref_logp` column."""
        return self.kind != "simpo"

    @property
    def by_length(self) -> bool:
        """Whether log-probabilities are taken per token."""
        if self.kind == "simpo" or self.length_normalised is None:
            return self.kind in ("simpo", "ipo")
        return self.length_normalised


class DpoOptim(OptimConfig):
    """AdamW with the rates usual for this stage."""

    lr: float = Field(default=1e-6, ge=0)
    """Peak learning rate."""
    schedule: ScheduleName = "cosine"
    """As in every job: constant, linear, cosine or wsd."""
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    """Warm-up as a share of all steps, rounded up."""


class DpoData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-preference"
    """Registered schema (`medray data list`); with a path and no kind, auto."""


class DpoJob(SupervisedJob):
    """Everything `jobs/dpo.py` does is said here."""

    out: str = "runs/dpo"
    """Run folder: config, metrics, checkpoints."""
    data: DpoData = DpoData()  # pyright: ignore[reportIncompatibleVariableOverride]
    chat: ChatConfig = ChatConfig()
    loss: PreferenceConfig = PreferenceConfig()
    optim: DpoOptim = DpoOptim()  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _reference_is_there(self) -> Self:
        if self.loss.needs_reference:
            require_reference(self.loss.reference, self.model)
        return self
