"""One rank of the critic, as a Ray actor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from medray.actors.groups import TrainItem
from medray.actors.ray_calls.wait import Started
from medray.actors.training.rank import Rank
from medray.config.ppo import PpoJob
from medray.observability.meters import Meters
from medray.storage.mirror import mirror_of
from medray.system.cpu import use_cpu
from medray.types import Floats, RolloutGroup, StepTotals

if TYPE_CHECKING:
    from medray.learners.estimates import Estimates, EstimateSummary
    from medray.learners.learner import Learner

FOLDER = "critic"
METRIC_NAMES = {
    "optim/grad_norm": "critic/grad_norm",
    "optim/lr": "critic/lr",
    "loss/total": "critic/loss",
}


class CriticDuties:
    """What a rank with a critic does; `critic` is there once the actor has started."""

    job: PpoJob
    rank: int
    critic: Learner

    def values(self, group: RolloutGroup | None) -> list[Floats]:
        """Per response of a group, the value of the state before each token.

        None where only a peer has a group: those who hold a part of the weights each must be called.
        """
        from medray.data.batches.trees import rollout_tree

        trees = [] if group is None else [rollout_tree(group)]
        return [values for valued in self.critic.scorer.values(trees) for values in valued]

    def estimate(
        self,
        group: RolloutGroup,
        values: Sequence[Floats],
        reference: Sequence[Floats] | None,
        scores: Floats,
        kl_coef: float,
    ) -> tuple[EstimateSummary, Estimates]:
        """Advantages and returns of a group's tokens; returns (what the driver may know, the estimates)."""
        from medray.learners.estimates import estimate

        return estimate(group, values, reference, scores, self.job.algorithm, kl_coef)

    def fit(self, items: Sequence[TrainItem], totals: StepTotals, place: int) -> Meters:
        """One optimizer step of the critic, number `place` of the job, over this rank's share; every rank must be
        called."""
        from medray.data.batches.trees import value_tree
        from medray.learners.objectives.value import ValueRegression

        deadline = self.job.deadlines.update_s
        groups: list[RolloutGroup] = ray.get([i.tokens for i in items], timeout=deadline)
        estimates: list[Estimates] = ray.get(
            [i.estimates for i in items if i.estimates is not None], timeout=deadline
        )
        trees = [
            value_tree(group, known.returns, known.values, item.kept)
            for group, known, item in zip(groups, estimates, items, strict=True)
        ]
        objective = ValueRegression(self.job.critic.loss)
        meters = self.critic.forward_backward(trees, objective, totals)
        step = self.critic.optim_step(place)
        if self.rank == 0:
            meters.merge(step)
        return meters.renamed(METRIC_NAMES)

    def save_critic(self, step: int) -> str:
        """Write checkpoint `step` of the critic; rank 0 writes, and every rank must be called."""
        from medray.models.checkpoints.checkpoint import save_checkpoint

        # One more than the policy keeps: that the policy's is whole is known only after this one is.
        keep = self.job.checkpoint.keep_last + 1
        folder = save_checkpoint(
            Path(self.job.out, FOLDER),
            step,
            self.critic.policy,
            self.critic.state(),
            keep_last=keep,
            writer=self.rank == 0,
        )
        if self.rank == 0 and (mirror := mirror_of(self.job, FOLDER)):
            mirror.push_checkpoint(folder, keep_last=keep)
        return str(folder)


@ray.remote
class CriticActor(Rank, CriticDuties):
    """Holds the critic's `Learner`; fetches the tensors it trains on by itself."""

    def start(self, address: tuple[str, int], checkpoint: str | None) -> Started:
        """Join the other ranks and load the model, from the critic beside the policy's `checkpoint` if given."""
        use_cpu(self.job.workers.critic.num_threads)
        from medray.learners.build import build_critic

        own = critic_checkpoint(self.job.out, checkpoint)
        self.bring(own, FOLDER)
        self.critic = build_critic(self.job, self.rank, address, own)
        return Started.now(self.critic.policy.describe())


def critic_checkpoint(out: str, checkpoint: str | None) -> str | None:
    """Where the critic lies that belongs to a checkpoint of the policy."""
    if checkpoint is None:
        return None
    return str(Path(out, FOLDER, "checkpoints", Path(checkpoint).name))
