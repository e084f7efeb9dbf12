"""The processes of a job: how many of each role, and what each one reserves.

Every job has one section `workers` with an entry for each of its roles, and every entry has the same keys:
`workers.ROLE.count`, `cpus`, `threads`, `gpus`, `custom`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from medray.config.base import Section
from medray.config.cores import usable_cores


def _are_custom(resources: dict[str, float]) -> dict[str, float]:
    for name in resources:
        if name in ("CPU", "GPU", "memory", "object_store_memory"):
            raise ValueError(f"{name} is a resource of Ray's own: set cpus or gpus")
    return resources


Custom = Annotated[dict[str, Annotated[float, Field(gt=0)]], AfterValidator(_are_custom)]


class WorkerGroup(Section):
    """The processes of one role."""

    count: int = Field(default=1, ge=1)
    """Number of processes."""
    cpus: float = Field(default=1.0, ge=0)
    """CPU cores each process reserves."""
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    """Compute threads; None uses `cpus`. Roles that alternate may each use all cores. auto uses the value that `medray
    tune` found for an RL job on this machine, else all cores, or an equal share if roles compute concurrently."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs each process reserves; a fraction lets processes share one."""
    custom: Custom = Field(default_factory=dict)
    """Custom Ray resources each process reserves, such as {rollout_node: 1} to pin a role to a node type."""

    @field_validator("gpus")
    @classmethod
    def _ray_takes_whole_gpus(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError(f"{value:g} GPUs: Ray takes whole numbers, or a share below 1")
        return value

    @property
    def num_threads(self) -> int:
        """Threads a process of this role computes with."""
        if self.threads == "auto":
            return usable_cores()
        return self.threads or max(1, int(self.cpus))

    @property
    def bundle(self) -> dict[str, float]:
        """One process's reservation in Ray's terms."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, **self.custom}
        return {name: amount for name, amount in wanted.items() if amount > 0}


class GraderWorkers(WorkerGroup):
    """Graders mostly wait: they reserve little."""

    cpus: float = Field(default=0.1, ge=0)
    """CPU cores each process reserves."""


class RlWorkers(Section):
    """Number of processes per role of an RL job, and the resources of each."""

    learner: WorkerGroup = WorkerGroup()
    """Learner ranks; each computes a share of the batch, and `learner.strategy` sets what it holds."""
    rollout: WorkerGroup = WorkerGroup()
    """vLLM engines that sample."""
    reference: WorkerGroup = WorkerGroup()
    """Copies of the frozen reference, if it is separate from the learner."""
    teacher: WorkerGroup = WorkerGroup()
    """Engines of the teacher of a distillation (`algorithm.distill.engine=vllm`)."""
    reward: WorkerGroup = WorkerGroup()
    """Processes that run the reward models (`rewards` of kind model); each holds all of them."""
    grader: GraderWorkers = GraderWorkers()
    """Processes that compute the other rewards."""
    placement: Literal["pack", "spread"] = "pack"
    """Keep the processes on few nodes, or spread them over nodes."""
    max_restarts: int = Field(default=20, ge=0)
    """Allowed restarts of rollout workers, of graders, and of the learner; one more failure ends the run."""
    colocate: bool = False
    """Learner and engines time-share the GPUs (vLLM sleeps during the update)."""


class PpoWorkers(RlWorkers):
    """Processes per role of a PPO job: those of an RL job and the critic."""

    critic: WorkerGroup = WorkerGroup()
    """Critic ranks; each computes a share of the batch."""


class ElasticLearners(WorkerGroup):
    """Ranks of a supervised job."""

    min_count: int | None = Field(default=None, ge=1)
    """Continue with at least this many ranks when nodes are lost; None waits for all."""

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.min_count is not None and self.min_count > self.count:
            raise ValueError(f"min_count={self.min_count} exceeds count={self.count}")
        return self


class SupervisedWorkers(Section):
    """Processes of a supervised job."""

    learner: ElasticLearners = ElasticLearners()
    """Learner ranks; each takes a share of every step, and `learner.strategy` sets what it holds."""
    max_restarts: int = Field(default=3, ge=0)
    """Allowed restarts from the newest checkpoint."""


class EvaluatorWorker(WorkerGroup):
    """The process that evaluates the models one after another."""

    count: Literal[1] = 1  # pyright: ignore[reportIncompatibleVariableOverride]
    """Number of processes: models take turns in one."""


class EvaluateWorkers(Section):
    """Processes of an evaluation."""

    evaluator: EvaluatorWorker = EvaluatorWorker()
    """Holds the model that is evaluated, and the engine that answers."""


class GenerateWorkers(Section):
    """Processes of a batch inference."""

    engine: WorkerGroup = WorkerGroup()
    """vLLM engines, over the whole cluster."""


class TokenizerWorkers(Section):
    """The processes that read no file and turn rows into tokens, one thread each."""

    count: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Number of processes; auto takes as many as the cluster has CPUs for. The result does not depend on it."""
    cpus: float = Field(default=1.0, gt=0)
    """CPU cores each process reserves."""
    custom: Custom = Field(default_factory=dict)
    """Custom Ray resources each process reserves, e.g. {data_node: 1}."""


class PrepareWorkers(Section):
    """Processes of a data preparation."""

    tokenizer: TokenizerWorkers = TokenizerWorkers()
    """Tokenising processes."""
