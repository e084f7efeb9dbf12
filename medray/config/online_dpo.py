"""The online DPO job: preference pairs of the policy's own samples, labelled by rewards."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.dpo import PreferenceConfig
from medray.config.optim import OptimConfig
from medray.config.policy import KlConfig, PolicyConfig
from medray.config.rl import RlJob


class PairConfig(Section):
    """Which two responses of a group become its pair."""

    min_gap: float = Field(default=1e-6, gt=0)
    """Least difference of the two rewards; a group below it trains nothing and is counted as tied."""


class OnlineDpoConfig(PolicyConfig):
    """A preference loss on the best and the worst of each prompt's responses (arXiv:2402.04792)."""

    preference: PreferenceConfig = PreferenceConfig()
    """The loss of a pair: all kinds of `jobs/dpo.py`."""
    pairs: PairConfig = PairConfig()
    """How pairs are made."""

    # A ClassVar takes the key of that name away: what belongs to the policy gradient is no key of this job.
    loss: ClassVar = "clipped"  # pyright: ignore[reportIncompatibleVariableOverride]
    ratio: ClassVar = "auto"  # pyright: ignore[reportIncompatibleVariableOverride]
    aggregation: ClassVar = "token"  # pyright: ignore[reportIncompatibleVariableOverride]
    clip_low: ClassVar = 0.2  # pyright: ignore[reportIncompatibleVariableOverride]
    clip_high: ClassVar = 0.2  # pyright: ignore[reportIncompatibleVariableOverride]
    clip_dual: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]
    off_policy_mask: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]
    entropy_coef: ClassVar = 0.0  # pyright: ignore[reportIncompatibleVariableOverride]
    kl: ClassVar = KlConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    correction: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]
    distill: ClassVar = None  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def needs_reference(self) -> bool:
        """Whether the loss compares with the model that training started from."""
        return self.preference.needs_reference

    @model_validator(mode="after")
    def _reference_is_the_jobs(self) -> Self:
        if self.preference.reference != "auto":
            raise ValueError(
                f"preference.reference={self.preference.reference} belongs to jobs/dpo.py: here the reference is the "
                "base with the adapter off, or the actors of workers.reference: remove algorithm.preference.reference"
            )
        return self


class OnlineDpoOptim(OptimConfig):
    """AdamW with the rate usual for this stage."""

    lr: float = Field(default=1e-6, ge=0)
    """Peak learning rate."""


class OnlineDpoJob(RlJob):
    """Configuration of `jobs/online_dpo.py`."""

    out: str = "runs/online_dpo"
    """Run folder: config, metrics, rollouts, checkpoints."""
    algorithm: OnlineDpoConfig = OnlineDpoConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    optim: OnlineDpoOptim = OnlineDpoOptim()  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _two_responses_make_a_pair(self) -> Self:
        if self.rollout.samples_per_prompt < 2:
            raise ValueError(
                f"rollout.samples_per_prompt={self.rollout.samples_per_prompt} makes no pair: set "
                "rollout.samples_per_prompt=2 or more"
            )
        return self
