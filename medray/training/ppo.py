"""PPO: four models, and a critic's estimates of every token; docs/ALGORITHMS.md says what each model does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medray.actors.workers import Workers
from medray.config.ppo import PpoJob
from medray.losses.kl_control import KlControl
from medray.observability.meters import Meters
from medray.training.batch import rollout_metrics
from medray.training.ppo_batch import PpoBatch, estimate_batch, ppo_metrics, update_on
from medray.training.rl_loop import Recorded, train_rl
from medray.training.sampling import SampledStep
from medray.training.shaping import RewardShaper
from medray.training.steps import Run


def train_ppo(job: PpoJob, workers: Workers, run: Run) -> None:
    """Train policy and critic.

    Raises:
        MedrayError: as `train_rl`.
    """
    train_rl(job, workers, run, Ppo(job, workers, run))


class Ppo:
    """The `Method` of PPO. Its reward normaliser and KL controller move with the steps and belong to a checkpoint."""

    def __init__(self, job: PpoJob, workers: Workers, run: Run) -> None:
        kl = job.algorithm.kl
        self.job = job
        self.workers = workers
        self.shaper = RewardShaper(job.algorithm.shaping, run.scalars.get("rewards"))
        self.control = KlControl(run.scalars.get("kl_coef", kl.coef), kl.target, kl.gain)

    def estimate(self, step: int, sampled: SampledStep) -> PpoBatch:
        """Shape the rewards and have the critic's ranks compute advantages and returns per token."""
        return estimate_batch(sampled, self.shaper, self.control, self.workers)

    def update(self, step: int, batch: PpoBatch) -> Meters:
        """Take the optimizer steps of policy and critic."""
        return update_on(batch, self.job, self.workers, step)

    def recorded(self, batch: PpoBatch) -> Recorded:
        """Return the groups and the mean advantage of each response's tokens."""
        return batch.groups, batch.response_advantages

    def metrics(self, batch: PpoBatch) -> dict[str, float]:
        """Return figures of scores, values and rollouts."""
        return ppo_metrics(batch, self.control) | rollout_metrics(batch.groups) | dict(batch.counts)

    def end_step(self, batch: PpoBatch) -> None:
        """Steer the KL coefficient by what the step saw."""
        self.control = self.control.after(batch.reference_kl)

    def state(self) -> Mapping[str, Any]:
        """Return the KL coefficient and the moments of the rewards."""
        return {"kl_coef": self.control.coef, "rewards": self.shaper.state()}
