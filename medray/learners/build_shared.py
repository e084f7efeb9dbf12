"""Two learners over one frozen base: an adapter each for policy and critic."""

from __future__ import annotations

from pathlib import Path

from medray.config.ppo import PpoJob
from medray.learners.build import build_learner, require_critic
from medray.learners.learner import Learner
from medray.learners.strategies import make_strategy
from medray.models.adapters.shared_base import critic_on
from medray.models.checkpoints.checkpoint import load_state
from medray.models.packed import PolicyModel


def build_shared(
    job: PpoJob,
    rank: int,
    address: tuple[str, int],
    checkpoint: str | None,
    critic_checkpoint: str | None,
) -> tuple[Learner, Learner]:
    """The policy's learner and the critic's, from their checkpoints where given.

    Raises:
        ModelError: the model cannot be loaded, or has no classifier.
        CheckpointError: a checkpoint is missing, or its state cannot be read.
    """
    require_critic(critic_checkpoint)
    learner = build_learner(job, rank, address, checkpoint)
    policy = learner.policy
    assert isinstance(policy, PolicyModel)
    assert job.model.lora is not None
    critic = Learner(
        critic_on(policy, job.model.lora, checkpoint=critic_checkpoint),
        job.critic.optim,
        num_optim_steps=job.num_optim_steps,
        config=job.learner,
        strategy=make_strategy(job.learner, job.workers.learner.count),
    )
    if critic_checkpoint is not None:
        critic.restore(load_state(Path(critic_checkpoint)))
    return learner, critic
