"""A supervised job's learner, rows and reference on one rank."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from medray.config.supervised import SupervisedJob, reference_kind
from medray.data.tree_table import TreeSource
from medray.learners.feed import StepFeed, num_steps
from medray.learners.learner import Learner
from medray.learners.methods import METHODS
from medray.learners.quality import Quality
from medray.learners.reference import Reference, with_reference
from medray.learners.reference_cache import ReferenceCache, ReferencedRows
from medray.learners.scorer import Scorer
from medray.learners.strategies import Strategy
from medray.models.checkpoint import load_state
from medray.models.load import load_policy, load_reward_model


@dataclass(frozen=True)
class Rows:
    """What a job trains on and what it is judged by."""

    train: TreeSource
    held_out: TreeSource


@dataclass(frozen=True)
class Built:
    """What `build_supervised` makes."""

    learner: Learner
    feed: StepFeed
    reference: Reference
    quality: Quality
    scalars: dict[str, object]  # of the checkpoint; empty on a fresh run


def build_supervised(
    method: str, job: SupervisedJob, rows: Rows, ranks: Strategy, checkpoint: Path | None
) -> Built:
    """Load the model, from `checkpoint` where given, and make ready what its objective reads.

    Raises:
        ModelError: the model cannot be loaded.
        CheckpointError: the checkpoint's state cannot be read.
    """
    kind = reference_kind(job)
    if kind == "precomputed":  # before the learner, so that two models are never held at once
        rows = _precomputed(job, rows, ranks)
    load = load_reward_model if METHODS[method].model == "reward" else load_policy
    model = load(job.model, seed=job.seed, checkpoint=str(checkpoint) if checkpoint else None)
    learner = Learner(
        model,
        job.optim,
        num_optim_steps=num_steps(job.batch, len(rows.train)),
        config=job.learner,
        strategy=ranks,
        neftune_alpha=getattr(job, "neftune_alpha", 0.0),
        seed=job.seed,
    )
    scalars: dict[str, object] = {}
    if checkpoint is not None:
        state = load_state(checkpoint)
        scalars = state["scalars"]
        learner.restore(state)
    reference = _reference(job, kind, learner)
    held_out = [rows.held_out[i] for i in range(len(rows.held_out))][: job.evaluation.num_rows]
    return Built(
        learner,
        StepFeed(rows.train, job.batch, job.seed),
        reference,
        Quality(held_out, reference),
        scalars,
    )


def _precomputed(job: SupervisedJob, rows: Rows, ranks: Strategy) -> Rows:
    scorer = Scorer(load_policy(job.model, seed=job.seed), config=job.learner)
    cache = ReferenceCache(Path(job.out) / "reference", scorer)
    train, held_out = (ReferencedRows(part, cache, ranks) for part in (rows.train, rows.held_out))
    del scorer, cache
    gc.collect()
    return Rows(train, held_out)


def _reference(job: SupervisedJob, kind: str | None, learner: Learner) -> Reference:
    match kind:
        case "adapter_off":
            return lambda trees: with_reference(trees, learner.scorer, adapter=False)
        case "separate":
            frozen = Scorer(load_policy(job.model, seed=job.seed), config=job.learner)
            return lambda trees: with_reference(trees, frozen)
        case _:
            return lambda trees: trees
