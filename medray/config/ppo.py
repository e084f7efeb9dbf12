"""The PPO job: a policy, a critic, rewards and a reference."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.critic import CriticConfig
from medray.config.learner import check_strategy
from medray.config.model import ModelConfig
from medray.config.parts import KlEstimatorName
from medray.config.policy import KlConfig, PolicyConfig
from medray.config.rl import RlJob
from medray.config.rollout import RolloutConfig
from medray.config.workers import PpoWorkers


class PpoKlConfig(KlConfig):
    """KL to the reference, and the controller of its coefficient."""

    coef: float = Field(default=0.05, ge=0)
    """Reward units a nat; with a target, what the controller begins with."""
    estimator: KlEstimatorName = "k1"
    """As in every job; k1 is the one that is right inside a reward."""
    place: Literal["loss", "reward"] = "reward"
    """Subtract the penalty from each token's reward, or differentiate it in the loss."""
    target: float | None = Field(default=None, gt=0)
    """KL of a whole response (nats) that the coefficient is steered to (arXiv:1909.08593 section 2.2); null keeps the
    coefficient fixed."""
    gain: float = Field(default=0.1, gt=0, le=1)
    """Largest relative change of the coefficient a step is a fifth of this."""

    @model_validator(mode="after")
    def _controller_has_something_to_steer(self) -> Self:
        if self.target is not None and (self.coef == 0 or self.place != "reward"):
            raise ValueError(
                f"target={self.target} adapts the coefficient of the KL penalty in the reward: set algorithm.kl.coef "
                "above 0 and algorithm.kl.place=reward"
            )
        return self


class ShapingConfig(Section):
    """From graded rewards to the scores that the critic and the policy are trained on."""

    normalise: Literal["none", "scale", "standardise"] = "none"
    """Divide by the running standard deviation of all rewards so far, after subtracting their mean or not."""
    clip: float | None = Field(default=None, gt=0)
    """Scores, normalised where asked, are cut to [-clip, clip]; null leaves them."""
    missing_eos_penalty: float = Field(default=0.0, ge=0)
    """Subtracted from the score of a response that did not stop by itself."""


class PpoConfig(PolicyConfig):
    """PPO with a critic (arXiv:1707.06347); token loss, ratio, clip and corrections are those of every job."""

    kl: PpoKlConfig = PpoKlConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    shaping: ShapingConfig = ShapingConfig()
    """Normalisation, bounds and penalties of the reward."""
    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount a token."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """GAE's trade of bias for variance (arXiv:1506.02438): 0 trusts the critic, 1 the sampled return."""
    value_lam: float | None = Field(default=None, ge=0, le=1)
    """The same for the critic's returns (decoupled GAE, arXiv:2503.01491; 1 there); null takes that of the
    advantages."""
    lam_alpha: float | None = Field(default=None, gt=0)
    """Use a lambda of 1 - 1 / (lam_alpha * tokens) for the advantages of each response in place of `lam` (VAPO,
    arXiv:2504.05118; 0.05 there)."""
    whiten: bool = True
    """Bring the batch's advantages to mean 0 and standard deviation 1."""
    epochs: int = Field(default=2, ge=1)
    """Times a rollout batch is gone through, each time in another order."""
    minibatches: int = Field(default=2, ge=1)
    """Optimizer steps an epoch."""
    target_kl: float | None = Field(default=None, gt=0)
    """Once the policy is so far (nats a token, k3) from the one that sampled the batch, it takes no further step on
    the batch; the critic goes on. null never stops."""


class PpoRollout(RolloutConfig):
    """As in every RL job; a critic needs no second response to compare with."""

    prompts_per_step: int = Field(default=32, ge=1)
    """Prompts (groups) in a rollout batch."""
    samples_per_prompt: int = Field(default=1, ge=1)
    """Responses a prompt; they share the prompt's tokens in every pass."""


class RolesConfig(Section):
    """How the four models are held."""

    layout: Literal["separate", "shared"] = "separate"
    """separate: actors of their own for each. shared: the learner's ranks hold one frozen base with an adapter each
    for policy, critic and reward model; with all adapters off the base is the reference."""


class PpoJob(RlJob):
    """Everything `jobs/ppo.py` does is said here."""

    out: str = "runs/ppo"
    """Run folder: config, metrics, rollouts, checkpoints."""
    algorithm: PpoConfig = PpoConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    critic: CriticConfig = CriticConfig()
    roles: RolesConfig = RolesConfig()
    rollout: PpoRollout = PpoRollout()  # pyright: ignore[reportIncompatibleVariableOverride]
    workers: PpoWorkers = PpoWorkers()  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def first_policy_step(self) -> int:
        """Which of the run's optimizer steps is the first after the critic's warm-up (0-based)."""
        return min(self.critic.warmup_steps, self.num_steps) * self.optim_steps_per_batch

    @property
    def critic_model(self) -> ModelConfig:
        """The model that the critic starts from."""
        return self.critic.model or self.model

    @property
    def model_devices(self) -> dict[str, str]:
        """As of every RL job, and the critic's."""
        own = {} if self.is_shared else {"critic": self.critic_model.device}
        return super().model_devices | own

    @property
    def is_shared(self) -> bool:
        """Whether one base serves all roles."""
        return self.roles.layout == "shared"

    @model_validator(mode="after")
    def _critic_fits(self) -> Self:
        self.critic_model.require_trainable("critic.model" if self.critic.model else "model")
        minibatch = self.rollout.prompts_per_step // self.algorithm.minibatches
        num_ranks = self.workers.critic.count
        if minibatch < num_ranks:
            raise ValueError(
                f"a minibatch of {minibatch} prompts is smaller than workers.critic.count={num_ranks}: raise "
                "rollout.prompts_per_step or lower workers.critic.count"
            )
        if not self.is_shared:
            check_strategy(self.learner, self.critic_model, num_ranks, "workers.critic.count")
        return self

    @model_validator(mode="after")
    def _one_base_for_all(self) -> Self:
        if not self.is_shared:
            return self
        if self.learner.shards_weights:
            raise ValueError(
                f"roles.layout=shared needs the whole base on every rank, and learner.strategy={self.learner.strategy} "
                "shards it: set learner.strategy=ddp, or roles.layout=separate"
            )
        if self.model.lora is None:
            raise ValueError(
                "roles.layout=shared keeps the base frozen and trains adapters: set model.lora={}"
            )
        if self.critic.model is not None:
            raise ValueError(
                "roles.layout=shared builds the critic on the policy's base: remove critic.model, or set "
                "roles.layout=separate"
            )
        return self
