"""One rank of the policy's learner, as a Ray actor."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from medray.actors.wait import Ref, Started
from medray.config.grpo import GrpoJob
from medray.observability.meters import Meters
from medray.types import Floats, RolloutGroup, StepTotals


@dataclass(frozen=True)
class TrainItem:
    """One group to train on: where its tokens are, and the advantages the driver gave it."""

    group: Ref  # RolloutGroup
    advantages: Floats  # [G]
    reference: Ref | None = None  # per response, the reference model's log-probabilities


@ray.remote
class LearnerActor:
    """Holds a `Learner`; fetches the tensors it trains on by itself."""

    def __init__(self, job: GrpoJob, rank: int) -> None:
        self.job = job
        self.rank = rank

    def rendezvous(self) -> tuple[str, int]:
        """An address of this node at which rank 0 can gather its peers."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def start(self, address: tuple[str, int], checkpoint: str | None) -> Started:
        """Join the other ranks and load the model."""
        began = time.monotonic()
        os.environ["OMP_NUM_THREADS"] = str(self.job.scale.learner.num_threads)
        import torch

        from medray.learners.build import build_learner

        torch.set_num_threads(self.job.scale.learner.num_threads)
        self.learner = build_learner(self.job, self.rank, address, checkpoint)
        return Started(self.learner.policy.describe(), time.monotonic() - began)

    def update(self, items: Sequence[TrainItem], totals: StepTotals) -> Meters:
        """One optimizer step over this rank's share; every rank must be called."""
        from medray.learners.objectives.policy_gradient import PolicyGradient
        from medray.learners.trees import rollout_tree

        deadline = self.job.deadlines.update_s
        groups: list[RolloutGroup] = ray.get([i.group for i in items], timeout=deadline)
        references = [
            None if i.reference is None else ray.get(i.reference, timeout=deadline) for i in items
        ]
        trees = [
            rollout_tree(group, item.advantages, reference)
            for group, item, reference in zip(groups, items, references, strict=True)
        ]
        objective = PolicyGradient(self.job.algorithm, self.job.rollout.max_new_tokens)
        meters = self.learner.forward_backward(trees, objective, totals)
        step = self.learner.optim_step()
        if self.rank == 0:
            meters.merge(step)
        return meters

    def reference_logprobs(self, group: RolloutGroup) -> tuple[tuple[float, ...], list[Floats]]:
        """Score a group under the adapter's base; returns (KL to it of each response in nats, log-probs)."""
        from medray.learners.reference import score_reference

        return score_reference(
            self.learner.scorer, group, self.job.algorithm.kl.estimator, adapter=False
        )

    def publish(self, version: int) -> Any:
        """Put the present weights into the object store as `version` (rank 0)."""
        from medray.actors.published import publish
        from medray.learners.probe import make_probe
        from medray.models.export import tied_names

        return publish(
            version,
            self.learner.weights(),
            tied_names(self.learner.policy),
            make_probe(self.learner.scorer),
            self.job.sync.bucket_mb * 2**20,
        )

    def save(self, step: int, scalars: Mapping[str, Any]) -> str:
        """Write checkpoint `step` of the run (rank 0)."""
        from medray.models.checkpoint import save_checkpoint

        state = self.learner.state()
        state["scalars"] |= {"learner_step": state["scalars"].pop("step"), "step": step, **scalars}
        keep = self.job.checkpoint.keep_last
        return str(
            save_checkpoint(Path(self.job.out), step, self.learner.policy, state, keep_last=keep)
        )
