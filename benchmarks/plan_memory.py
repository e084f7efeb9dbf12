"""Does `medray plan` predict a learner's memory?

python -m benchmarks.plan_memory     (make setup first; four minutes)

Nine learner processes, one after another, take two steps of rows of the longest length that their settings allow.
None of the plan's constants was fitted to these models.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.record import ROOT, write_record
from medray.planning.plan import plan_job
from tests.support.measured_learner import KINDS, WIDTHS, job, save_model

MIB = 2**20


def main(
    row_tokens: Annotated[int, typer.Option(min=16, help="Tokens of a row.")] = 512,
    sizes: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(WIDTHS),
    kinds: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(KINDS),
    models: Annotated[Path | None, typer.Option(help="Where models go; kept.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Print predicted and measured peak memory of a learner, by size and kind of training."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        print("| parameters | kind | predicted MiB | measured MiB | error |\n|--:|--|--:|--:|--:|")
        for size in sizes.split(","):
            folder = (models or Path(temporary)) / size
            if not (folder / "model.safetensors").is_file():
                save_model(folder, size)
            for kind in kinds.split(","):
                results[f"{size} {kind}"] = found = compare(folder, kind, row_tokens)
                print(
                    f"| {found['parameters'] / 1e6:.0f}M | {kind} | {found['predicted_bytes'] / MIB:.0f} | "
                    f"{found['measured_bytes'] / MIB:.0f} | {100 * found['error']:+.1f} % |",
                    flush=True,
                )
    write_record(out / "plan_memory.json", main.__doc__ or "", {"row_tokens": row_tokens}, results)


def compare(folder: Path, kind: str, row_tokens: int) -> dict[str, Any]:
    """One process: its peak, and what was predicted of it."""
    from medray.planning.shape import hf_config, model_shape

    wanted = job(folder, kind, row_tokens)
    [learner] = plan_job(wanted).roles
    predicted = learner.memory.device_bytes
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.measured_learner", str(folder), kind, str(row_tokens)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    measured = int(run.stdout.split("peak ")[1])
    return {
        "parameters": model_shape(hf_config(wanted.model), wanted.model).num_params,
        "predicted_bytes": predicted,
        "measured_bytes": measured,
        "error": predicted / measured - 1,
    }


if __name__ == "__main__":
    typer.run(main)
