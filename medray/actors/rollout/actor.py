"""One rollout engine as a Ray actor.

One thread serves: it steps the engine and hands out groups as they become whole. Everything else that is asked of
the actor is queued as a call, which that thread makes between two steps, so weights can change and prompts can join
while responses are under way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import ray

from medray.actors.groups import Request
from medray.actors.ray_calls.wait import Ref, Started
from medray.actors.rollout.call_queue import CallQueue
from medray.actors.supervision.memory import own_peak
from medray.actors.supervision.node_probe import MonitoredActor
from medray.actors.weights.publish import PublishedWeights, arrays
from medray.config.rl import RlJob
from medray.engines.base import DirectEngine, Generated, GroupFailed
from medray.errors import ModelError, WeightSyncError
from medray.models.tokenizer import max_positions
from medray.system.cpu import ONE_ARENA
from medray.types import GroupMeta, Probe, RolloutGroup, WeightManifest

MIN_MODEL_LEN = 128  # room for the probe


@dataclass(frozen=True)
class Loaded:
    """What a worker says once it has proved a version of the weights.

    Attributes:
        gap: the probe's, nats.
        untouched: tickets of the groups all of whose tokens will be of this version or later.
    """

    gap: float
    untouched: tuple[int, ...] = ()


@ray.remote(concurrency_groups={"calls": 1}, runtime_env={"env_vars": ONE_ARENA})  # pyright: ignore[reportCallIssue]
class RolloutActor(MonitoredActor):
    """Holds a `RolloutEngine`; hands out metadata and keeps the tokens in the object store."""

    def __init__(self, job: RlJob, index: int) -> None:
        self.job = job
        self.name = f"rollout-{index}"
        self.calls = CallQueue()
        self.asked: dict[int, Request] = {}
        self.kept: tuple[Ref, ...] = ()  # what the engine holds of weights that no version changes

    def start(self) -> Started:
        """Load the vLLM engine and report when it is ready.

        Runs once, after construction: the driver creates all actors first, then waits for their starts in parallel.
        """
        from medray.engines.build import engine_kind
        from medray.engines.kind import EngineStart

        job, threads = self.job, self.job.workers.rollout.num_threads
        kind = engine_kind(job.rollout.engine)
        # Before anything imports torch: OpenMP reads the number of threads once.
        kind.prepare(job.rollout.engine, device=job.model.device, threads=threads)
        start = EngineStart(
            job.model,
            job.rollout.engine,
            max_model_len=self._longest(),
            threads=threads,
            seed=job.seed,
            backend=job.sync.backend,
            dialogues=self._dialogues(),
        )
        self.engine = kind.rollout(start)
        return Started.now(self.name)

    def _dialogues(self) -> Any:
        """How dialogues go on; None where the job asks for single answers."""
        config = self.job.rollout.environment
        if config is None:
            return None
        from medray.data.rendering.chat import ChatRenderer
        from medray.engines.dialogue import Dialogues
        from medray.environments.registry import build_environment
        from medray.models.tokenizer import load_tokenizer

        renderer = ChatRenderer(load_tokenizer(self.job.model), self.job.chat.variables)
        reply = build_environment(config).reply
        return Dialogues(
            reply,
            renderer,
            config.max_turns,
            name=config.kind,
            in_order=self.job.deterministic,
            deadline_s=config.deadline_s,
        )

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

    def serve(self) -> Iterator[Any]:
        """Stream, for each group that becomes whole, the `RolloutGroup` and then (its ticket, `GroupMeta`). Never ends.

        A group whose environment failed comes as None and (its ticket, `EnvironmentFailed`).

        Raises:
            WeightSyncError: something was asked under weights that the engine does not hold.
        """
        while True:
            self.calls.run(wait=not self.engine.busy)
            if self.engine.busy:
                for done in self.engine.step():
                    yield from self._hand_out(done)

    @ray.method(concurrency_group="calls")
    def peak_memory(self) -> dict[str, int]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Bytes at their peak, asked while the other thread serves."""
        return own_peak()

    @ray.method(concurrency_group="calls")
    def submit(self, requests: Sequence[Request], version: int) -> None:
        """Have groups sampled, to begin under weights `version`."""
        self.calls.post(lambda: self._submit(requests, version))

    @ray.method(concurrency_group="calls")
    def load(self, published: PublishedWeights) -> Loaded:
        """Take `published` as one verified transaction."""
        return self._call(lambda: self._load(published))

    def _load(self, published: PublishedWeights) -> Loaded:
        has_kept = bool(published.kept) and published.kept == self.kept
        self.kept = ()  # a transaction that fails leaves nothing to rely on
        gap = self.engine.load_weights(
            published.manifest,
            arrays(published, deadline_s=self.job.deadlines.sync_s, has_kept=has_kept),
            tolerance=self.job.tolerance,
            kept=published.kept_names if has_kept else frozenset(),
        )
        self.kept = published.kept
        return Loaded(gap, self.engine.untouched())

    @ray.method(concurrency_group="calls")
    def begin_sync(self, probe: Probe) -> None:
        """Open a transaction whose tensors another process sends (nccl, ipc)."""
        self._call(lambda: self._direct.begin_update(probe))

    @ray.method(concurrency_group="calls")
    def transfer(self, method: str, *arguments: Any) -> None:
        """One call of the engine's own weight-transfer protocol, made by the sender."""
        self._call(lambda: self._direct.transfer(method, *arguments))

    @ray.method(concurrency_group="calls")
    def end_sync(self, manifest: WeightManifest) -> float:
        """Close the transaction; returns the probe's gap in nats."""
        return self._call(lambda: self._direct.end_update(manifest, tolerance=self.job.tolerance))

    @ray.method(concurrency_group="calls")
    def sleep(self) -> None:
        """Free the accelerator for the learner that shares it."""
        self.kept = ()
        self._call(lambda: self.engine.sleep())

    @ray.method(concurrency_group="calls")
    def wake(self) -> None:
        """Take the accelerator's memory back."""
        self._call(lambda: self.engine.wake())

    @property
    def _direct(self) -> DirectEngine:
        return cast(DirectEngine, self.engine)  # jobs whose kind has no sender() are refused

    def _call(self, call: Any) -> Any:
        deadlines = self.job.deadlines
        return self.calls.call(call, deadline_s=deadlines.start_s + deadlines.sync_s)

    def _submit(self, requests: Sequence[Request], version: int) -> None:
        if self.engine.version != version:
            raise WeightSyncError(
                f"{self.name} holds weights {self.engine.version}, not {version}: it must not serve"
            )
        if self.job.deterministic and not self.engine.busy:
            self.engine.reset_cache()
        for ask in requests:
            self.asked[ask.ticket] = ask
            self.engine.submit(ask.ticket, ask.prompt, ask.seed, ask.spec)

    def _hand_out(self, done: Generated | GroupFailed) -> Iterator[Any]:
        if isinstance(done, GroupFailed):
            del self.asked[done.index]
            yield None
            yield done.index, done.error
            return
        prompt = self.asked.pop(done.index).prompt
        meta = GroupMeta(
            prompt_id=prompt.record.id,
            num_prompt_tokens=len(prompt.token_ids),
            num_response_tokens=tuple(len(r.token_ids) for r in done.responses),
            num_stopped=sum(r.finish_reason == "stop" for r in done.responses),
            policy_version=done.oldest_version,
            worker=self.name,
            num_cached_tokens=done.num_cached_tokens,
            newest_version=done.newest_version,
            num_environment_tokens=tuple(len(r.token_ids) - r.num_sampled for r in done.responses),
            truncated=tuple(r.finish_reason == "length" for r in done.responses),
        )
        yield RolloutGroup(prompt, done.responses, done.oldest_version, self.name)
        yield done.index, meta
