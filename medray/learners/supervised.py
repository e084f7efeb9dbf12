"""A supervised job's learner, rows and reference on one rank."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from medray.config.supervised import SupervisedJob, reference_kind
from medray.data.batches.feed import NOTHING, Feed, StepFeed, Taken
from medray.data.batches.prepared_feed import PreparedFeed
from medray.data.batches.tree_table import TreeSequence
from medray.data.batches.trees import with_mismatched
from medray.data.prepared.reader import PreparedTrees
from medray.errors import ConfigError
from medray.learners.held_out.evaluator import HeldOutEvaluator
from medray.learners.learner import Learner
from medray.learners.methods import METHODS, needs_mismatched
from medray.learners.reference import Reference, with_reference
from medray.learners.reference_cache import ReferenceCache, ReferencedRows
from medray.learners.scorer import Scorer
from medray.learners.strategies import Strategy
from medray.models.checkpoints.checkpoint import load_state, try_save
from medray.models.load import load_policy, load_reward_model
from medray.types import PromptTree


@dataclass(frozen=True)
class SplitTrees:
    """What a job trains on and what it is evaluated on."""

    train: TreeSequence
    held_out: TreeSequence


@dataclass(frozen=True)
class Built:
    """What `build_supervised` makes."""

    learner: Learner
    feed: Feed
    reference: Reference
    evaluator: HeldOutEvaluator
    scalars: dict[str, object]  # of the checkpoint; empty on a fresh run


def build_supervised(
    method: str, job: SupervisedJob, rows: SplitTrees, ranks: Strategy, checkpoint: Path | None
) -> Built:
    """Load the model, from `checkpoint` where given, and make ready what its objective reads.

    Raises:
        ModelError: the model cannot be loaded.
        CheckpointError: the checkpoint's state cannot be read.
    """
    source, kind = rows.train, reference_of(job, rows)
    if kind == "precomputed":  # before the learner, so that two models are never held at once
        rows = _precomputed(job, rows, ranks)
    state = load_state(checkpoint) if checkpoint is not None else None
    scalars: dict[str, object] = state["scalars"] if state is not None else {}
    feed = open_feed(method, job, source, rows.train, taken=rows_taken(scalars, job))
    load = load_reward_model if METHODS[method].model == "reward" else load_policy
    model = load(
        job.model,
        seed=job.seed,
        checkpoint=str(checkpoint) if checkpoint else None,
        on_host=job.learner.shards_weights,
    )
    if ranks.rank == 0:
        try_save(Path(job.out), model)
    learner = Learner(
        model,
        job.optim,
        num_optim_steps=feed.num_steps,
        config=job.learner,
        strategy=ranks,
        neftune_alpha=getattr(job, "neftune_alpha", 0.0),
        seed=job.seed,
    )
    if state is not None:
        learner.restore(state)
    reference = _reference(job, kind, learner)
    held_out = held_out_trees(method, job, rows.held_out)
    return Built(learner, feed, reference, HeldOutEvaluator(held_out, reference), scalars)


def rows_taken(scalars: Mapping[str, Any], job: SupervisedJob) -> Taken:
    """How many rows a run had taken at the checkpoint with these scalars; none without a checkpoint."""
    step = int(scalars.get("step", 0))
    return Taken(step, int(scalars.get("rows", step * job.batch.rows_per_step)))


def open_feed(
    method: str,
    job: SupervisedJob,
    source: TreeSequence,
    trees: TreeSequence | None = None,
    *,
    taken: Taken = NOTHING,
) -> Feed:
    """What every step takes from `source`.

    Args:
        method: the stage.
        job: how many rows make a step, and the seed.
        source: the rows as they were read, or a prepared folder.
        trees: the same rows with columns that `source` does not have; None takes them as they are.
        taken: rows of earlier steps, where the run continues.

    Raises:
        DataError: there is no row.
        ConfigError: the folder still grows, and `batch.num_steps` is not said.
    """
    trees = source if trees is None else trees
    if not isinstance(source, PreparedTrees):
        return StepFeed(trees, job.batch, job.seed, taken)
    finish = _mismatching(job) if needs_mismatched(method, job) else list
    tree = trees.__getitem__
    return PreparedFeed(source, job.batch, job.seed, tree=tree, finish=finish, taken=taken)


def held_out_trees(method: str, job: SupervisedJob, rows: TreeSequence) -> list[PromptTree]:
    """The first `evaluation.num_rows` held-out rows; of a folder that grows, after waiting for them.

    So they are the same whether the folder was complete when the run began or not.

    Raises:
        DeadlineExceeded: nothing was added to the folder for long.
    """
    wanted = job.evaluation.num_rows
    if not isinstance(rows, PreparedTrees):
        return [rows[i] for i in range(min(wanted, len(rows)))]
    if wanted:
        rows.has_tree(wanted - 1)
    trees = [rows[i] for i in range(min(wanted, len(rows)))]
    return _mismatching(job)(trees) if trees and needs_mismatched(method, job) else trees


def _mismatching(job: Any) -> Callable[[list[PromptTree]], list[PromptTree]]:
    return functools.partial(with_mismatched, max_tokens=job.chat.max_tokens)


def reference_of(
    job: SupervisedJob, rows: SplitTrees
) -> Literal["adapter_off", "separate", "precomputed"] | None:
    """Where the reference's log-probabilities come from, for these rows.

    Raises:
        ConfigError: they cannot be precomputed for a prepared folder.
    """
    prepared = isinstance(rows.train, PreparedTrees)
    kind = reference_kind(job, prepared=prepared)
    if kind == "precomputed" and isinstance(rows.train, PreparedTrees):
        instead = "set loss.reference=separate, or train an adapter (model.lora={})"
        if not rows.train.is_complete:
            raise ConfigError(
                f"loss.reference=precomputed scores all rows before the first step, and {rows.train.folder} is still "
                f"being prepared: {instead}"
            )
        if getattr(cast(Any, job).loss, "reference_point", None) == "mismatched":
            raise ConfigError(
                "loss.reference=precomputed does not support the mismatched pairs that each step of a "
                f"prepared folder creates: {instead}"
            )
    return kind


def _precomputed(job: SupervisedJob, rows: SplitTrees, ranks: Strategy) -> SplitTrees:
    scorer = Scorer(load_policy(job.model, seed=job.seed), config=job.learner)
    cache = ReferenceCache(Path(job.out) / "reference", scorer)
    train, held_out = (ReferencedRows(part, cache, ranks) for part in (rows.train, rows.held_out))
    del scorer, cache
    gc.collect()
    return SplitTrees(train, held_out)


def _reference(job: SupervisedJob, kind: str | None, learner: Learner) -> Reference:
    match kind:
        case "adapter_off":
            return lambda trees: with_reference(trees, learner.scorer, adapter=False)
        case "separate":
            frozen = Scorer(load_policy(job.model, seed=job.seed), config=job.learner)
            return lambda trees: with_reference(trees, frozen)
        case _:
            return lambda trees: trees
