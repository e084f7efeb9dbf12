"""The groups that a GRPO run sampled, back from the rollouts it has left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from medray.config.grpo import GrpoJob
from medray.data.loading.load import load_dataset
from medray.runs.launch import prepare_prompts
from medray.storage.rollout_files import read_rollouts
from medray.types import Continuation, PromptTree


def job_of(run: Path) -> GrpoJob:
    """The settings of a run."""
    return GrpoJob.model_validate(json.loads((run / "config.json").read_text()))


def steps_of(run: Path, *, trained: bool) -> Iterator[list[PromptTree]]:
    """The groups of each step; `trained` leaves out those whose answers were all worth the same."""
    job = job_of(run)
    prompts = prepare_prompts(job, load_dataset(job.data)).train
    known = {prompt.record.id: prompt.token_ids for prompt in prompts}
    rows = read_rollouts(run).sort_by([("step", "ascending"), ("prompt_id", "ascending")])
    for _, of_step in groupby(rows.to_pylist(), key=lambda row: row["step"]):
        trees = []
        for prompt_id, group in groupby(of_step, key=lambda row: row["prompt_id"]):
            answers = list(group)
            if trained and all(abs(row["advantage"] or 0.0) <= 1e-7 for row in answers):
                continue
            ids = [np.asarray(row["token_ids"], np.int32) for row in answers]
            sampled = [row["sampled"] or [True] * len(row["token_ids"]) for row in answers]
            continuations = [
                Continuation(i, np.asarray(s)) for i, s in zip(ids, sampled, strict=True)
            ]
            trees.append(PromptTree(known[prompt_id], tuple(continuations)))
        yield trees
