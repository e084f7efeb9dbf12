"""A learner from a job's settings, on one rank or as one of many."""

from __future__ import annotations

import datetime
from pathlib import Path

import torch.distributed as dist

from medray.config.rl import RlJob
from medray.learners.learner import Learner
from medray.learners.objectives.base import Objective
from medray.learners.objectives.distill import Distill
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.learners.scorer import Scorer
from medray.learners.strategies import DataParallel, SingleProcess, Strategy
from medray.models.checkpoint import load_state
from medray.models.load import load_policy


def build_learner(
    job: RlJob, rank: int, address: tuple[str, int], checkpoint: str | None
) -> Learner:
    """Load the model, from `checkpoint` where given, and take its optimizer state back."""
    policy = load_policy(job.model, seed=job.seed, checkpoint=checkpoint)
    learner = Learner(
        policy,
        job.optim,
        num_optim_steps=job.num_optim_steps,
        temperature=job.rollout.temperature,
        config=job.learner,
        strategy=_join(rank, job, address),
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
    policy_gradient = PolicyGradient(job.algorithm, job.rollout.max_new_tokens)
    distill = job.algorithm.distill
    if distill is None:
        return policy_gradient
    teacher = load_policy(distill.teacher, seed=job.seed, trainable=False)
    scorer = Scorer(teacher, temperature=job.rollout.temperature, config=job.learner)
    return Distill(policy_gradient, distill, learner.scorer, scorer)


def _join(rank: int, job: RlJob, address: tuple[str, int]) -> Strategy:
    world_size = job.scale.learner_ranks
    if world_size == 1:
        return SingleProcess()
    dist.init_process_group(
        "nccl" if job.model.device == "cuda" else "gloo",
        init_method=f"tcp://{address[0]}:{address[1]}",
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=job.deadlines.update_s),
    )
    return DataParallel()
