"""How many of a run's tokens did its updates compute? From the rollouts that a GRPO run has left.

python -m benchmarks.ledger runs/grpo
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.record import write_record
from medray.config.grpo import GrpoJob
from medray.data.load import load_dataset
from medray.data.packing import build_row, pack
from medray.drivers.launch import prepare_prompts
from medray.observability.rollouts import read_rollouts
from medray.types import Continuation, PromptTree, TokenIds


def main(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Count tokens of each step's update three ways; print a line for each quarter of the run."""
    job = GrpoJob.model_validate(json.loads((run / "config.json").read_text()))
    prompts = prepare_prompts(job, load_dataset(job.data)).train
    known = {prompt.record.id: prompt.token_ids for prompt in prompts}
    rows = read_rollouts(run).sort_by([("step", "ascending"), ("prompt_id", "ascending")])
    steps = [
        _ledger(list(_trees(list(of_step), known)), job.learner.row_tokens)
        for _, of_step in groupby(rows.to_pylist(), key=lambda row: row["step"])
    ]
    write_record(out / "ledger.json", main.__doc__ or "", {"run": str(run)}, {"steps": steps})
    table = Table(title=f"tokens an update, {len(steps)} steps of {run}")
    for column in ("steps", *steps[0]):
        table.add_column(column, justify="right")
    for part in np.array_split(np.arange(len(steps)), min(4, len(steps))):
        means = [f"{np.mean([steps[i][name] for i in part]):,.0f}" for name in steps[0]]
        table.add_row(f"{part[0] + 1}-{part[-1] + 1}", *means)
    Console().print(table)


def _trees(rows: list[dict[str, Any]], known: dict[str, TokenIds]) -> Iterator[PromptTree]:
    """The step's groups that have a signal."""
    for prompt_id, group in groupby(rows, key=lambda row: row["prompt_id"]):
        answers = list(group)
        if all(abs(row["advantage"] or 0.0) <= 1e-7 for row in answers):
            continue
        ids = [np.asarray(row["token_ids"], np.int32) for row in answers]
        sampled = [row["sampled"] or [True] * len(row["token_ids"]) for row in answers]
        yield PromptTree(
            known[prompt_id],
            tuple(Continuation(i, np.asarray(s)) for i, s in zip(ids, sampled, strict=True)),
        )


def _ledger(trees: list[PromptTree], row_tokens: int) -> dict[str, int]:
    packed = [build_row(row) for row in pack(trees, row_tokens)]
    answers = [len(c.token_ids) for tree in trees for c in tree.continuations]
    repeated = sum(len(tree.prompt_ids) * len(tree.continuations) for tree in trees)
    return {
        "prompts repeated": repeated + sum(answers),
        "a prompt a group": sum(tree.num_tokens for tree in trees),
        "computed": sum(len(row.token_ids) for row in packed),
        "trained": sum(len(row.targets) for row in packed),
    }


if __name__ == "__main__":
    typer.run(main)
