"""How many of a run's tokens did its updates compute? From the rollouts that a GRPO run has left.

python -m benchmarks.ledger runs/grpo
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.record import write_record
from benchmarks.run_trees import job_of, steps_of
from medray.data.batches.packing import build_row, pack
from medray.types import PromptTree


def main(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Count tokens of each step's update three ways; print a line for each quarter of the run."""
    row_tokens = job_of(run).learner.row_tokens
    steps = [_ledger(trees, row_tokens) for trees in steps_of(run, trained=True)]
    write_record(out / "ledger.json", main.__doc__ or "", {"run": str(run)}, {"steps": steps})
    table = Table(title=f"tokens an update, {len(steps)} steps of {run}")
    for column in ("steps", *steps[0]):
        table.add_column(column, justify="right")
    for part in np.array_split(np.arange(len(steps)), min(4, len(steps))):
        means = [f"{np.mean([steps[i][name] for i in part]):,.0f}" for name in steps[0]]
        table.add_row(f"{part[0] + 1}-{part[-1] + 1}", *means)
    Console().print(table)


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
