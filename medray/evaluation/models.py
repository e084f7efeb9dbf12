"""Evaluating several models on the same held-out rows: answers, perplexity, preferences, in one table."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medray.actors.cluster.connect import connected
from medray.actors.ray_calls.wait import gather
from medray.actors.scoring.model_evaluator import Cells, model_evaluator
from medray.config.evaluate import EvaluateJob
from medray.evaluation.table import COLUMNS, markdown
from medray.models.fetching.fetch import resolve_model
from medray.storage.atomic import write_text
from medray.storage.manifest import git_state, package_versions

Table = dict[str, Cells]
"""Line -> its cells."""


def run_evaluate(job: EvaluateJob) -> Table:
    """Evaluate every model of `job` and write the table.

    Raises:
        ModelError: a model is missing, or not of the kind that is said.
        DataError: there are no held-out rows, or as `load_dataset`.
        DeadlineExceeded: a model took longer than `deadline_s`.
    """
    for model in job.models:
        resolve_model(model.path)
    table = Table()
    answers: list[dict[str, Any]] = []
    with connected(), model_evaluator(job) as evaluator:
        sources = _wait(job, "the held-out rows", evaluator.start.remote())
        for model in job.models:
            began = time.monotonic()
            table[model.name], given = _wait(job, model.name, evaluator.evaluate.remote(model))
            answers += given
            print(f"{model.name}: evaluated in {time.monotonic() - began:.0f} s", flush=True)
    write_outcome(job, sources, table, answers)
    print("\n" + markdown(table))
    return table


def _wait(job: EvaluateJob, name: str, call: Any) -> Any:
    return gather({name: call}, deadline_s=job.deadline_s, doing="evaluate")[name]


def write_outcome(
    job: EvaluateJob, sources: dict[str, Any], table: Table, answers: Sequence[dict[str, Any]]
) -> None:
    """The table for people and for programs, with what it was made from, and all answers."""
    out = Path(job.out)
    record = {
        "settings": job.model_dump(mode="json"),
        "models": {model.name: str(resolve_model(model.path)) for model in job.models},
        "data": sources,
        "git": git_state(Path(__file__).parent),
        "packages": package_versions(),
        "columns": COLUMNS,
        "table": {
            line: {column: asdict(found) for column, found in cells.items()}
            for line, cells in table.items()
        },
    }
    write_text(out / "evaluation.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "table.md", markdown(table))
    lines = (json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    write_text(out / "answers.jsonl", "".join(lines))
