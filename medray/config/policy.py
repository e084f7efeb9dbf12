"""How the policy is updated from sampled tokens: what every RL algorithm, with a critic or without, has in common."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.correction import WEIGHTS, CorrectionConfig, corrections_of
from medray.config.model import ModelConfig
from medray.config.parts import KlEstimatorName, LossName

Aggregation = Literal["token", "sequence", "fixed"]


class KlConfig(Section):
    """KL penalty that keeps the policy close to the reference model."""

    coef: float = Field(default=0.0, ge=0)
    """Coefficient of the penalty; with 0, no reference model is loaded."""
    estimator: KlEstimatorName = "k3"
    """Schulman's estimators of KL(policy || reference): k1 = log ratio, k2 = half its square, k3 = r - 1 - log r; or
    your own as `package.module:name`."""
    place: Literal["loss", "reward"] = "loss"
    """Differentiate the penalty in the loss, or subtract it from the reward of each response."""
    unbiased: bool = True
    """In the loss, weight the estimate by the ratio to the sampler (arXiv:2512.02556), so that its gradient is that of
    the KL; false differentiates the plain estimate."""


class DistillConfig(Section):
    """On-policy distillation (arXiv:2306.13649): minimize the divergence from a teacher on the student's own
    samples."""

    teacher: ModelConfig
    """A frozen model with the student's vocabulary."""
    engine: Literal["learner", "vllm"] = "learner"
    """learner: every rank holds the teacher and compares the full distributions; vllm: separate engines
    (`workers.teacher`) score groups as they are sampled, and compare the `top` most likely tokens and the rest."""
    top: int = Field(default=64, ge=1)
    """Number of teacher tokens compared separately with engine=vllm; all others form one outcome."""
    divergence: Literal["forward_kl", "reverse_kl", "jsd"] = "reverse_kl"
    """forward_kl is mode-covering, reverse_kl is mode-seeking, jsd interpolates between them."""
    beta: float = Field(default=0.5, gt=0, lt=1)
    """Weight of the teacher in the mixture of jsd."""
    coef: float = Field(default=1.0, gt=0)
    """Coefficient of the divergence in the policy loss."""


class PolicyConfig(Section):
    """Token loss, ratio, penalties and optimizer steps."""

    loss: LossName = "clipped"
    """Token loss: clipped (PPO's clipped ratio), gspo (clipped response ratio), gmpo (geometric mean of clipped
    ratios), cispo (clipped weight), sapo (soft gate, options tau_pos and tau_neg), dppo_tv and dppo_kl (mask by how far
    a token's probability moved), clip_cov and kl_cov (hold the tokens that lower the entropy most, options share, low
    and high, or coef), or your own as `package.module:name`."""
    ratio: Literal["auto", "behaviour", "old"] = "auto"
    """Denominator of the importance ratio: the engine's log-probabilities (behaviour), or the learner's at the start of
    the batch (old). auto: old if `correction` is set, else behaviour."""
    aggregation: Aggregation = "token"
    """token: mean over the step's trained tokens; sequence: mean over responses of their token mean;
    fixed: sum over tokens / (responses * max_new_tokens)."""
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """The ratio is clipped below at 1 - clip_low."""
    clip_high: float = Field(default=0.2, ge=0)
    """The ratio is clipped above at 1 + clip_high."""
    clip_dual: float | None = Field(default=3.0, gt=1)
    """Largest ratio of tokens with a negative advantage in the clipped loss (dual clip, arXiv:1912.09729; two-sided
    clip, arXiv:2505.07291); null does not bound it."""
    off_policy_mask: float | None = Field(default=None, gt=0)
    """Leave out responses with a negative advantage that have become less likely by more than this (nats per token)
    since they were sampled (off-policy sequence masking, arXiv:2512.02556); null trains on all."""
    entropy_coef: float = Field(default=0.0, ge=0)
    """Coefficient of the entropy bonus, which is subtracted from the loss of each trained token."""
    kl: KlConfig = KlConfig()
    """KL penalty to the reference model."""
    correction: CorrectionConfig = None
    """Weight tokens by the mismatch between engine and learner with the same weights: kind tis, icepop, sequence_tis,
    sequence_mis, sequence_mask, your own as `package.module:name`, or a list of these."""
    distill: DistillConfig | None = None
    """Add the divergence from a teacher to the loss."""
    mask_truncated: bool = False
    """Leave responses that reached the length limit out of the losses, the critic's included, and out of their
    denominators; their rewards still count in the baseline."""
    minibatches: int = Field(default=1, ge=1)
    """Optimizer steps per pass over a rollout batch."""
    epochs: int = Field(default=1, ge=1)
    """Passes over each rollout batch."""

    @property
    def is_taught_by_engines(self) -> bool:
        """Whether a teacher in vLLM scores the groups."""
        return self.distill is not None and self.distill.engine == "vllm"

    @property
    def needs_reference(self) -> bool:
        """Whether the loss or the reward compares with the model that training started from."""
        return self.kl.coef > 0

    @property
    def uses_advantages(self) -> bool:
        """Whether the policy loss has a gradient from rewards."""
        return True

    @property
    def uses_old_logp(self) -> bool:
        """Whether the loss reads the learner's log-probabilities from the start of the batch."""
        return self.ratio == "old" or self.correction is not None

    @property
    def ratio_is_to_old(self) -> bool:
        """Whether the ratio is taken against those log-probabilities rather than the engine's."""
        return self.ratio == "old" or (self.ratio == "auto" and self.correction is not None)

    @property
    def needs_old_pass(self) -> bool:
        """Whether they cost a forward pass: in the only step of a batch they are the step's own."""
        return self.uses_old_logp and self.minibatches * self.epochs > 1

    @model_validator(mode="after")
    def _mismatch_counts_once(self) -> Self:
        weights = [c.kind for c in corrections_of(self.correction) if isinstance(c, WEIGHTS)]
        if self.ratio == "behaviour" and weights:
            raise ValueError(
                f"ratio=behaviour already includes the mismatch that correction={weights[0]} corrects for, "
                "so it would count twice: set algorithm.ratio=old, or algorithm.correction=null"
            )
        return self

    @model_validator(mode="after")
    def _dual_clip_is_beyond_the_clip(self) -> Self:
        if (
            self.clip_dual is not None
            and "clip_dual" in self.model_fields_set
            and self.loss == "clipped"
            and self.clip_dual <= 1 + self.clip_high
        ):
            raise ValueError(
                f"clip_dual={self.clip_dual:g} is not above 1 + clip_high={1 + self.clip_high:g}: raise "
                "algorithm.clip_dual, or set it to null"
            )
        return self
