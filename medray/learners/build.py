"""A learner from a job's settings, on one rank or as one of many."""

from __future__ import annotations

from pathlib import Path

from medray.config.grpo import GrpoJob
from medray.learners.learner import Learner
from medray.learners.objectives.base import Objective
from medray.learners.objectives.distill import Distill
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.learners.scorer import Scorer
from medray.learners.strategies import Strategy, connect_ranks, make_strategy
from medray.models.checkpoint import load_state
from medray.models.load import load_policy


def build_learner(
    job: GrpoJob, rank: int, address: tuple[str, int], checkpoint: str | None
) -> Learner:
    """Load the model, from `checkpoint` where given, and take its optimizer state back."""
    policy = load_policy(
        job.model, seed=job.seed, checkpoint=checkpoint, on_host=job.learner.shards_weights
    )
    algorithm = job.algorithm
    learner = Learner(
        policy,
        job.optim,
        num_optim_steps=job.num_steps * algorithm.minibatches * algorithm.epochs,
        temperature=job.rollout.temperature,
        config=job.learner,
        strategy=_join(rank, job, address),
    )
    if checkpoint is not None:
        state = load_state(Path(checkpoint))
        state["scalars"]["step"] = state["scalars"]["learner_step"]
        learner.restore(state)
    return learner


def build_rl_objective(job: GrpoJob, learner: Learner) -> Objective:
    """What the job's algorithm minimises; loads the teacher if there is one.

    Raises:
        ModelError: the teacher cannot be loaded, or does not fit the student.
    """
    policy_gradient = PolicyGradient(job.algorithm, job.rollout.max_new_tokens)
    distill = job.algorithm.distill
    if distill is None:
        return policy_gradient
    teacher = load_policy(distill.teacher, seed=job.seed, trainable=False)
    scorer = Scorer(teacher, temperature=job.rollout.temperature, config=job.learner)
    return Distill(policy_gradient, distill, learner.scorer, scorer)


def _join(rank: int, job: GrpoJob, address: tuple[str, int]) -> Strategy:
    ranks = job.scale.learner_ranks
    if job.learner.resolved(ranks) != "single":
        connect_ranks(
            rank, ranks, address, device=job.model.device, timeout_s=job.deadlines.update_s
        )
    return make_strategy(job.learner, ranks)
