"""vLLM as an engine kind; vllm itself is imported once an engine is loaded."""

from __future__ import annotations

from medray.config.generate import GenerateJob
from medray.config.policy import DistillConfig
from medray.config.rollout import EngineConfig
from medray.engines.base import BatchEngine, RolloutEngine, TeacherEngine, WeightSender
from medray.engines.kind import EngineKind, EngineStart, SenderStart
from medray.models.served import Model


class Vllm(EngineKind):
    """Rollouts, batch inference and teachers on vLLM, with its own weight transfer on GPUs."""

    plays_dialogues = True

    def prepare(self, config: EngineConfig, *, device: str, threads: int) -> None:
        """Set what vLLM reads from the environment."""
        from medray.engines.vllm.engine import prepare_environment

        prepare_environment(config, device=device, threads=threads)

    def rollout(self, start: EngineStart) -> RolloutEngine:
        """Load an in-process engine that is stepped by hand."""
        from medray.engines.vllm.engine import VllmEngine

        return VllmEngine(
            start.model,
            start.config,
            max_model_len=start.max_model_len,
            threads=start.threads,
            seed=start.seed,
            backend=start.backend,
            dialogues=start.dialogues,
        )

    def batch(self, job: GenerateJob, model: Model) -> BatchEngine:
        """Load a base model and its adapter."""
        from medray.engines.vllm.batch import VllmBatch

        return VllmBatch(job, model)

    def teacher(
        self, distill: DistillConfig, config: EngineConfig, *, max_tokens: int, threads: int
    ) -> TeacherEngine:
        """Load a model that only reads."""
        from medray.engines.vllm.teacher import VllmTeacher

        return VllmTeacher(distill, config, max_tokens=max_tokens, threads=threads)

    def sender(self, start: SenderStart) -> WeightSender:
        """Connect through vLLM's own weight-transfer backends."""
        from medray.engines.vllm.direct_transfer import DirectTransfer, EngineClient

        client = EngineClient(start.call, start.num_engines, start.ranks_per_engine)
        return DirectTransfer(
            start.backend,
            client,
            start.tensors,
            address=start.address,
            num_engine_ranks=start.num_engines * start.ranks_per_engine,
        )
