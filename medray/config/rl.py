"""What the RL jobs have in common: models, rollouts, rewards, actors and the run folder."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from medray.config.base import Section, Seed
from medray.config.cluster import DeadlineConfig, SyncConfig
from medray.config.curriculum import CurriculumConfig
from medray.config.data import DataConfig
from medray.config.device_defaults import with_device_defaults
from medray.config.gpus import check_colocation, check_engine_gpus, check_model_gpus
from medray.config.judges import JudgeConfig, with_judges
from medray.config.learner import LearnerConfig, check_strategy
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.config.policy import PolicyConfig
from medray.config.reward import GradingConfig, RewardConfig
from medray.config.rollout import RolloutConfig
from medray.config.run import CheckpointConfig, EvaluationConfig, LoggingConfig
from medray.config.workers import RlWorkers


class PromptChatConfig(Section):
    """How prompts, and the turns of an environment, are rendered."""

    variables: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template, such as {enable_thinking: false}."""


class RlJob(Section):
    """Keys that all RL jobs share."""

    out: str = "runs/rl"
    """Run folder: config, metrics, rollouts, checkpoints."""
    mirror: str | None = None
    """URL (s3://, gs://, file://) to which complete checkpoints, rollouts and metrics are copied, and from which a run
    without its folder resumes; every node must be able to reach it."""
    num_steps: int = Field(default=30, ge=1)
    """Rollout batches to train on."""
    seed: Seed = 17
    """Seed of sampling, prompt order and initialization."""
    deterministic: bool = False
    """Fix submission order and routing, so that a resumed run equals an undisturbed one bit for bit."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    chat: PromptChatConfig = PromptChatConfig()
    curriculum: CurriculumConfig | None = None
    """Draw prompts by their pass rate; null takes each once per epoch."""
    rewards: tuple[RewardConfig, ...] = (RewardConfig(),)
    judges: dict[str, JudgeConfig] = Field(default_factory=dict[str, JudgeConfig])
    """LLM judges by name, for the option `judge` of rewards."""
    grading: GradingConfig = GradingConfig()
    rollout: RolloutConfig = RolloutConfig()
    algorithm: PolicyConfig = PolicyConfig()
    optim: OptimConfig = OptimConfig()
    learner: LearnerConfig = LearnerConfig()
    workers: RlWorkers = RlWorkers()
    sync: SyncConfig = SyncConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    logging: LoggingConfig = LoggingConfig()
    deadlines: DeadlineConfig = DeadlineConfig()

    @model_validator(mode="before")
    @classmethod
    def _name_judges(cls, values: Any) -> Any:
        return with_judges(values)

    @model_validator(mode="before")
    @classmethod
    def _device_decides(cls, values: Any) -> Any:
        return with_device_defaults(values, cls)

    @field_validator("mirror")
    @classmethod
    def _mirror_is_a_url(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError(
                f"{value} is no URL: write s3://..., gs://... or, for a shared folder, file:///PATH"
            )
        return value

    @property
    def tolerance(self) -> float:
        """Largest probe gap a weight sync accepts, nats."""
        return self.sync.tolerance or self.model.logprob_tolerance

    @property
    def num_optim_steps(self) -> int:
        """Optimizer steps over the whole run, skipped ones included."""
        return self.num_steps * self.optim_steps_per_batch

    @property
    def optim_steps_per_batch(self) -> int:
        """Optimizer steps on one rollout batch."""
        return self.algorithm.minibatches * self.algorithm.epochs

    @property
    def first_policy_step(self) -> int:
        """Which of them is the first that the policy takes (0-based)."""
        return 0

    @property
    def has_reference(self) -> bool:
        """Whether processes of their own hold the reference; else the learner is it, with its adapter off."""
        own = self.model.lora is None or self.learner.shards_weights
        return self.algorithm.needs_reference and own

    @property
    def model_devices(self) -> dict[str, str]:
        """Where the processes of each role that trains or scores with PyTorch compute: role -> "cpu" or "cuda"."""
        devices = {"learner": self.model.device}
        if self.has_reference:
            devices["reference"] = self.model.device
        return devices

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        self.model.require_trainable("model")
        rollout, algorithm, num_ranks = self.rollout, self.algorithm, self.workers.learner.count
        if rollout.prompts_per_step % algorithm.minibatches:
            raise ValueError(
                f"rollout.prompts_per_step={rollout.prompts_per_step} is not divisible by "
                f"algorithm.minibatches={algorithm.minibatches}: make one a multiple of the other"
            )
        if rollout.prompts_per_step // algorithm.minibatches < num_ranks:
            raise ValueError(
                f"a minibatch of {rollout.prompts_per_step // algorithm.minibatches} prompts is smaller than "
                f"workers.learner.count={num_ranks}: raise rollout.prompts_per_step or lower workers.learner.count"
            )
        check_strategy(self.learner, self.model, num_ranks, "workers.learner.count")
        if self.data.num_train is not None and self.data.num_train < rollout.prompts_per_step:
            raise ValueError(
                f"data.num_train={self.data.num_train} is below rollout.prompts_per_step={rollout.prompts_per_step}"
            )
        if self.evaluation.num_items > self.data.num_eval:
            raise ValueError(
                f"evaluation.num_items={self.evaluation.num_items} exceeds data.num_eval={self.data.num_eval}"
            )
        if self.model.lora is not None and self.model.lora.dropout > 0:
            raise ValueError(
                "with model.lora.dropout > 0 the trained policy differs from the sampled one: set model.lora.dropout=0"
            )
        if algorithm.is_taught_by_engines and rollout.temperature != 1.0:
            raise ValueError(
                f"rollout.temperature={rollout.temperature:g}: a vLLM teacher returns log-probabilities at temperature "
                "1: set rollout.temperature=1, or algorithm.distill.engine=learner"
            )
        if not self.rewards:
            raise ValueError("rewards is empty: add at least one, e.g. rewards: [{kind: choice}]")
        if algorithm.uses_advantages and not any(reward.weight for reward in self.rewards):
            raise ValueError(
                "every reward has weight 0, so nothing would be trained: set rewards.0.weight"
            )
        return self

    @model_validator(mode="after")
    def _gates_are_read(self) -> Self:
        ruled = [i for i, reward in enumerate(self.rewards) if reward.gate or reward.veto]
        if ruled and getattr(self.algorithm, "estimator", "") == "gdpo":
            raise ValueError(
                f"rewards.{ruled[0]} has a gate or veto, but algorithm.kind=gdpo normalizes each reward by itself and "
                "would ignore it: use another algorithm, or remove gate and veto"
            )
        return self

    @model_validator(mode="after")
    def _devices_agree(self) -> Self:
        workers, device = self.workers, self.model.device
        if self.sync.backend != "object_store" and device != "cuda":
            raise ValueError(
                f"sync.backend={self.sync.backend} needs GPUs: set model.device=cuda or sync.backend=object_store"
            )
        if self.sync.backend != "object_store" and self.learner.shards_weights:
            raise ValueError(
                f"sync.backend={self.sync.backend} sends from one rank, but learner.strategy={self.learner.strategy} "
                "shards the weights: set sync.backend=object_store"
            )
        if workers.colocate and device != "cuda":
            raise ValueError(
                "workers.colocate shares GPUs: set model.device=cuda or workers.colocate=false"
            )
        check_engine_gpus(self.rollout.engine, workers.rollout, device)
        check_model_gpus(self.model_devices, workers)
        check_colocation(workers, self.rollout.engine, self.sync)
        return self

    @model_validator(mode="after")
    def _may_run_ahead(self) -> Self:
        lag = self.rollout.max_lag
        if not lag:
            return self
        if self.deterministic:
            raise ValueError(
                f"rollout.max_lag={lag} lets weights change in the middle of a response, so the run is not "
                "reproducible: set deterministic=false, or rollout.max_lag=0"
            )
        if self.workers.colocate:
            raise ValueError(
                f"rollout.max_lag={lag} runs generation and training concurrently, but workers.colocate "
                "time-shares the GPU: unset one of them"
            )
        return self
