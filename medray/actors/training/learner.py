"""One rank of the policy's learner, as a Ray actor."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from medray.actors.cluster.address import free_address
from medray.actors.groups import TokenAdvantages, TrainItem
from medray.actors.ray_calls.wait import Ref, Started
from medray.actors.training.rank import Rank
from medray.actors.weights.engine_calls import EngineCalls
from medray.actors.weights.publish import Form, PublishedWeights, Publisher
from medray.config.rl import RlJob
from medray.observability.meters import Meters
from medray.storage.mirror import mirror_of
from medray.system.cpu import use_cpu
from medray.types import (
    Floats,
    Probe,
    ResponseKl,
    RolloutGroup,
    StepTotals,
    TensorInfo,
    WeightManifest,
)

if TYPE_CHECKING:
    from medray.learners.learner import Learner
    from medray.learners.objectives.base import Objective


class LearnerDuties:
    """What a rank with the policy does; `learner` is there once the actor has started."""

    job: RlJob
    rank: int
    learner: Learner
    objective: Objective
    publisher: Publisher | None = None

    def update(self, items: Sequence[TrainItem], totals: StepTotals, place: int) -> Meters:
        """One optimizer step, number `place` of the job, over this rank's share; every rank must be called."""
        from medray.data.batches.trees import rollout_tree

        deadline = self.job.deadlines.update_s
        groups: list[RolloutGroup] = ray.get([i.tokens for i in items], timeout=deadline)
        references = [_fetched(i.reference, deadline) for i in items]
        olds = [_fetched(i.old, deadline) for i in items]
        teacher = [_fetched(i.teacher_tokens, deadline) for i in items]
        trees = [
            rollout_tree(group, self._advantages(item, group, scored[0]), *scored, kept=item.kept)
            for group, item, *scored in zip(groups, items, references, olds, teacher, strict=True)
        ]
        own, objective = self.learner.prepare(trees, self.objective)
        meters = self.learner.forward_backward(own, objective, totals)
        step = self.learner.optim_step(place)
        if self.rank == 0:
            meters.merge(step)
        return meters

    def _advantages(
        self, item: TrainItem, group: RolloutGroup, ref_logp: Sequence[Floats] | None
    ) -> Floats | list[Floats]:
        """Of the responses [G], or of their tokens [G][N]."""
        known = item.advantages
        assert known is not None, "an item of the critic was given to the policy"
        if isinstance(known, TokenAdvantages):
            estimates: Any = ray.get(known.estimates, timeout=self.job.deadlines.update_s)
            return [(a - known.mean) / known.std for a in estimates.advantages]
        if not item.kl_slope:
            return known
        from medray.learners.reference import less_kl_to_go

        assert ref_logp is not None, "a KL in the reward needs the reference"
        estimator = self.job.algorithm.kl.estimator
        return less_kl_to_go(known, group, ref_logp, estimator, item.kl_slope)

    def old_logprobs(self, group: RolloutGroup | None) -> list[Floats]:
        """Per response of a group, the log-probabilities under the present weights.

        None where only peers have a group: those who hold a part of the weights each must be called.
        """
        from medray.data.batches.trees import rollout_tree

        trees = [] if group is None else [rollout_tree(group)]
        return [logp for scored in self.learner.scorer.logprobs(trees) for logp in scored]

    def reference_logprobs(
        self, group: RolloutGroup
    ) -> tuple[tuple[ResponseKl, ...], list[Floats]]:
        """Score a group under the adapter's base; returns (KL to it of each response in nats, log-probs)."""
        from medray.learners.reference import score_reference

        return score_reference(
            self.learner.scorer, group, self.job.algorithm.kl.estimator, adapter=False
        )

    def probe(self) -> Probe:
        """The probe text scored under the present weights."""
        from medray.learners.probe import make_probe

        return make_probe(self.learner.scorer, self.job.rollout.engine.block)

    def publish(self, version: int, form: Form) -> PublishedWeights | None:
        """Put the present weights into the object store as `version`; the other ranks only give what they hold.

        Args:
            version: its number.
            form: how adapted weights travel; of a model that is trained whole, or spread over ranks, all weights do.
        """
        from medray.models.checkpoints.export import adapter_parts, tied_names

        policy, probe = self.learner.policy, self.probe()
        if self.publisher is None:
            self.publisher = Publisher(self.job.sync.bucket_mb * 2**20)
        if policy.adapter is not None and not policy.placement.sharded:
            import torch

            dtype = getattr(torch, policy.config.dtype)
            parts, aliases = adapter_parts(policy), tied_names(policy)
            return self.publisher.adapted(version, parts, aliases, probe, dtype=dtype, form=form)
        weights = self.learner.weights()
        if self.rank > 0:
            deque(weights, maxlen=0)
            return None
        return self.publisher.whole(version, weights, tied_names(policy), probe)

    def connect(self, engines: Sequence[Any]) -> None:
        """Join the engines through their own transfer protocol (rank 0; nccl and ipc)."""
        from medray.engines.build import engine_kind
        from medray.engines.kind import SenderStart
        from medray.models.checkpoints.export import delivered_weights

        job = self.job
        start = SenderStart(
            backend="ipc" if job.sync.backend == "ipc" else "nccl",
            call=EngineCalls(engines, job.deadlines.sync_s),
            num_engines=len(engines),
            ranks_per_engine=job.rollout.engine.tensor_parallel,
            tensors=lambda: delivered_weights(self.learner.policy),
            address=free_address(),
        )
        self.transfer = engine_kind(job.rollout.engine).sender(start)

    def send(self, version: int) -> WeightManifest:
        """Push the present weights to the connected engines; returns what they must prove (rank 0)."""
        from medray.models.checkpoints.export import delivered_weights

        infos = {name: TensorInfo.of(t) for name, t in delivered_weights(self.learner.policy)}
        self.transfer.send()
        return WeightManifest(version, infos, self.probe())

    def save(self, step: int, scalars: Mapping[str, Any]) -> str:
        """Write checkpoint `step` of the run; rank 0 writes, and every rank must be called."""
        from medray.models.checkpoints.checkpoint import save_checkpoint

        state = self.learner.state()
        state["scalars"] |= {"learner_step": state["scalars"].pop("step"), "step": step, **scalars}
        keep = self.job.checkpoint.keep_last
        folder = save_checkpoint(
            Path(self.job.out),
            step,
            self.learner.policy,
            state,
            keep_last=keep,
            writer=self.rank == 0,
        )
        if self.rank == 0 and (mirror := mirror_of(self.job)):
            mirror.push_checkpoint(folder, keep_last=keep)
        return str(folder)


@ray.remote
class LearnerActor(Rank, LearnerDuties):
    """Holds the policy's `Learner`; fetches the tensors it trains on by itself."""

    def start(self, address: tuple[str, int], checkpoint: str | None) -> Started:
        """Join the other ranks and load the model."""
        use_cpu(self.job.workers.learner.num_threads)
        from medray.learners.build import build_learner, build_rl_objective

        self.bring(checkpoint)
        self.learner = build_learner(self.job, self.rank, address, checkpoint)
        self.objective = build_rl_objective(self.job, self.learner)
        return Started.now(self.learner.policy.describe())


def _fetched(ref: Ref | None, deadline_s: float) -> Any:
    return None if ref is None else ray.get(ref, timeout=deadline_s)
