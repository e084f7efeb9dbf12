"""What an inference library does for medray, as one class that `engine.kind` names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from medray.config.generate import GenerateJob
from medray.config.model import ModelConfig
from medray.config.policy import DistillConfig
from medray.config.rollout import EngineConfig
from medray.engines.base import BatchEngine, RolloutEngine, TeacherEngine, WeightSender
from medray.engines.dialogue import Dialogues
from medray.engines.requests import Sample
from medray.errors import ConfigError
from medray.models.served import Model
from medray.system.cpu import use_cpu


@dataclass(frozen=True)
class EngineStart:
    """What a rollout engine is made from."""

    model: ModelConfig
    config: EngineConfig
    max_model_len: int
    """Tokens of the longest prompt and response together."""
    threads: int = 1
    """Compute threads on a CPU."""
    seed: int = 0
    backend: str = "object_store"
    """How weights arrive (`sync.backend`)."""
    dialogues: Dialogues[Sample] | None = None
    """The environment, for dialogues of several turns."""


@dataclass(frozen=True)
class SenderStart:
    """What a learner's direct connection to its engines is made from."""

    backend: Literal["nccl", "ipc"]
    call: Callable[[str, Sequence[tuple[Any, ...]]], None]
    """Call a method on all engines, with one tuple of arguments for each, and wait for them."""
    num_engines: int
    ranks_per_engine: int
    tensors: Callable[[], Iterator[tuple[str, Any]]]
    """The learner's weights by name, as torch tensors."""
    address: tuple[str, int]
    """Host and free port of the learner's rank 0."""


class EngineKind:
    """One inference library. Derive from it, write `rollout`, and the others where the library can do them.

    Keyword arguments of the constructor are `engine.options`. Objects are made in every process that uses them, so
    the module imports the library inside the methods.
    """

    plays_dialogues: bool = False
    """Whether its rollout engines go on after an environment's turn."""

    def prepare(self, config: EngineConfig, *, device: str, threads: int) -> None:
        """Set what libraries read from the environment; called before `rollout`, and before torch is imported."""
        if device == "cpu":
            use_cpu(threads)

    def rollout(self, start: EngineStart) -> RolloutEngine:
        """Load an engine that samples responses and takes new weights: PPO, GRPO, distillation, evaluation."""
        self._lacks("rollouts")

    def batch(self, job: GenerateJob, model: Model) -> BatchEngine:
        """Load an engine for `jobs/generate.py`."""
        self._lacks("batch inference")

    def teacher(
        self, distill: DistillConfig, config: EngineConfig, *, max_tokens: int, threads: int
    ) -> TeacherEngine:
        """Load the teacher of a distillation.

        Args:
            distill: the teacher, and how many of its tokens are asked for.
            config: how the engine runs.
            max_tokens: of the longest prompt and response together.
            threads: compute threads on a CPU.
        """
        self._lacks("teachers (algorithm.distill.engine)")

    def sender(self, start: SenderStart) -> WeightSender:
        """Connect a learner to `DirectEngine`s, for `sync.backend` nccl and ipc."""
        self._lacks("direct weight transfer (sync.backend)")

    def can(self, method: str) -> bool:
        """Whether the class has its own `rollout`, `batch`, `teacher` or `sender`."""
        return getattr(type(self), method) is not getattr(EngineKind, method)

    def _lacks(self, what: str) -> NoReturn:
        raise ConfigError(f"engine.kind: {type(self).__name__} has no {what}")
