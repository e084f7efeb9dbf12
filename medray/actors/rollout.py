"""One vLLM engine as a Ray actor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from medray.actors.lookout import Placed
from medray.actors.published import PublishedWeights, arrays
from medray.actors.wait import Started
from medray.config.rl import RlJob
from medray.errors import ModelError, WeightSyncError
from medray.models.tokenizer import max_positions
from medray.types import GenerateSpec, GroupMeta, Probe, Prompt, RolloutGroup, WeightManifest

MIN_MODEL_LEN = 128  # room for the probe


@ray.remote
class RolloutActor(Placed):
    """Holds a `VllmEngine`; hands out metadata and keeps the tokens in the object store."""

    def __init__(self, job: RlJob, index: int) -> None:
        self.job = job
        self.name = f"rollout-{index}"

    def start(self) -> Started:
        """Load the engine."""
        began = time.monotonic()
        from medray.engines.vllm import VllmEngine, prepare_environment

        job, threads = self.job, self.job.scale.rollout.num_threads
        # Before anything imports torch: OpenMP reads the number of threads once.
        prepare_environment(job.rollout.engine, device=job.model.device, threads=threads)
        self.engine = VllmEngine(
            job.model,
            job.rollout.engine,
            max_model_len=self._longest(),
            threads=threads,
            seed=job.seed,
            backend=job.sync.backend,
        )
        return Started(self.name, time.monotonic() - began)

    def _longest(self) -> int:
        """Tokens of the longest sequence the job may ask for.

        Raises:
            ModelError: the model has fewer positions.
        """
        job = self.job
        evaluated = job.evaluation.max_new_tokens or 0
        new = max(job.rollout.max_new_tokens, evaluated)
        longest = max(job.data.max_prompt_tokens + new, MIN_MODEL_LEN)
        limit = max_positions(job.model)
        if limit is not None and longest > limit:
            raise ModelError(
                f"data.max_prompt_tokens={job.data.max_prompt_tokens} and {new} new tokens exceed the {limit} "
                f"positions of {job.model.path}: lower data.max_prompt_tokens to {limit - new} or less"
            )
        return longest

    def load(self, published: PublishedWeights) -> float:
        """Take `published` as one verified transaction; returns the probe's gap in nats."""
        deadline = self.job.deadlines.sync_s
        return self.engine.load_weights(
            published.manifest, arrays(published, deadline_s=deadline), tolerance=self.job.tolerance
        )

    def begin_sync(self, probe: Probe) -> None:
        """Open a transaction whose tensors another process sends (nccl, ipc)."""
        self.engine.begin_update(probe)

    def transfer(self, method: str, *arguments: Any) -> None:
        """One call of vLLM's weight-transfer protocol, made by the sender."""
        self.engine.transfer(method, *arguments)

    def end_sync(self, manifest: WeightManifest) -> float:
        """Close the transaction; returns the probe's gap in nats."""
        return self.engine.end_update(manifest, tolerance=self.job.tolerance)

    def sleep(self) -> None:
        """Free the accelerator for the learner that shares it."""
        self.engine.sleep()

    def wake(self) -> None:
        """Take the accelerator's memory back."""
        self.engine.wake()

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec, version: int
    ) -> Iterator[Any]:
        """Stream, for each prompt as it completes, the `RolloutGroup` and then (its index in `prompts`, `GroupMeta`).

        Raises:
            WeightSyncError: the engine does not hold `version`.
        """
        if self.engine.version != version:
            raise WeightSyncError(
                f"{self.name} holds weights {self.engine.version}, not {version}: it must not serve"
            )
        if self.job.deterministic:
            self.engine.reset_cache()
        for done in self.engine.generate(prompts, seeds, spec):
            prompt = prompts[done.index]
            meta = GroupMeta(
                prompt_id=prompt.record.id,
                num_prompt_tokens=len(prompt.token_ids),
                num_response_tokens=tuple(len(r.token_ids) for r in done.responses),
                num_stopped=sum(r.finish_reason == "stop" for r in done.responses),
                policy_version=version,
                worker=self.name,
                num_cached_tokens=done.num_cached_tokens,
            )
            yield RolloutGroup(prompt, done.responses, version, self.name)
            yield done.index, meta
