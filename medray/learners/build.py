"""A learner from a job's settings, on one rank or as one of many."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from medray.config.online_dpo import OnlineDpoConfig
from medray.config.policy import DistillConfig
from medray.config.ppo import PpoJob
from medray.config.rl import RlJob
from medray.errors import CheckpointError
from medray.learners.learner import Learner
from medray.learners.objectives.base import Objective
from medray.learners.objectives.distill import Distill, HeldTeacher, Teacher, TopTeacher
from medray.learners.objectives.entropy import EntropyBonus
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.learners.objectives.preference import preference
from medray.learners.scorer import Scorer
from medray.learners.strategies import Strategy, connect_ranks, make_strategy
from medray.models.checkpoints.checkpoint import load_state, try_save
from medray.models.load import load_policy, load_reward_model
from medray.models.reward.head import has_score_head
from medray.models.reward.model import start_at_zero
from medray.models.tokenizer import load_tokenizer


def build_learner(
    job: RlJob, rank: int, address: tuple[str, int], checkpoint: str | None
) -> Learner:
    """Load the model, from `checkpoint` where given, and take its optimizer state back."""
    policy = load_policy(
        job.model, seed=job.seed, checkpoint=checkpoint, on_host=job.learner.shards_weights
    )
    if rank == 0:
        try_save(Path(job.out), policy)
    learner = Learner(
        policy,
        job.optim,
        num_optim_steps=job.num_optim_steps - job.first_policy_step,
        first_step=job.first_policy_step,
        temperature=job.rollout.temperature,
        config=job.learner,
        strategy=_join(rank, job.workers.learner.count, job.model.device, job, address),
    )
    if checkpoint is not None:
        state = load_state(Path(checkpoint))
        state["scalars"]["step"] = state["scalars"]["learner_step"]
        learner.restore(state)
    return learner


def build_rl_objective(job: RlJob, learner: Learner) -> Objective:
    """What the job's algorithm minimises; loads the teacher if there is one.

    Raises:
        ModelError: the teacher cannot be loaded, or does not fit the student.
    """
    if isinstance(job.algorithm, OnlineDpoConfig):
        return preference(job.algorithm.preference)
    kind = EntropyBonus if job.algorithm.entropy_coef > 0 else PolicyGradient
    policy_gradient = kind(job.algorithm, job.rollout.max_new_tokens)
    distill = job.algorithm.distill
    if distill is None:
        return policy_gradient
    return Distill(policy_gradient, distill, learner.scorer, _teacher(job, distill, learner.scorer))


def _teacher(job: RlJob, config: DistillConfig, student: Scorer) -> Teacher:
    if config.engine == "vllm":
        return TopTeacher(config, student, load_tokenizer(config.teacher))
    policy = load_policy(config.teacher, seed=job.seed, trainable=False)
    scorer = Scorer(policy, temperature=job.rollout.temperature, config=job.learner)
    return HeldTeacher(config, student, scorer)


def build_critic(
    job: PpoJob, rank: int, address: tuple[str, int], checkpoint: str | None
) -> Learner:
    """Load the critic, from its own `checkpoint` where given, and take its optimizer state back.

    Raises:
        ModelError: the model cannot be loaded.
        CheckpointError: the critic's checkpoint is not there.
    """
    require_critic(checkpoint)
    model = load_reward_model(
        job.critic_model,
        seed=job.seed,
        checkpoint=checkpoint,
        on_host=job.learner.shards_weights,
    )
    if checkpoint is None and not has_score_head(job.critic_model.path):
        start_at_zero(model)
    if rank == 0:
        try_save(Path(job.out, "critic"), model)
    learner = Learner(
        model,
        job.critic.optim,
        num_optim_steps=job.num_optim_steps,
        config=job.learner,
        strategy=_join(rank, job.workers.critic.count, job.critic_model.device, job, address),
    )
    if checkpoint is not None:
        learner.restore(load_state(Path(checkpoint)))
    return learner


def require_critic(checkpoint: str | None) -> None:
    """Refuse to go on without the critic's `checkpoint`, where one is given.

    Raises:
        CheckpointError: it is not there.
    """
    if checkpoint is not None and not Path(checkpoint).is_dir():
        raise CheckpointError(
            f"{checkpoint}: the critic of this checkpoint is missing: restore it, or choose another out="
        )


def _join(
    rank: int,
    num_ranks: int,
    device: Literal["cpu", "cuda"],
    job: RlJob,
    address: tuple[str, int],
) -> Strategy:
    if job.learner.resolved(num_ranks) != "single":
        connect_ranks(rank, num_ranks, address, device=device, timeout_s=job.deadlines.update_s)
    return make_strategy(job.learner, num_ranks)
