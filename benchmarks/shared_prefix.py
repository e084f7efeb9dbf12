"""What does it save to compute a group's prompt once? The learner's update both ways, in turn, in one process.

python -m benchmarks.shared_prefix --shape pubmedqa --rounds 3
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.record import ROOT, spread, write_record
from benchmarks.updates import SHAPES, Updates, groups
from medray.actors.supervision.memory import own_peak

FORMS: dict[str, Literal["auto", "plain"]] = {"shared": "auto", "repeated": "plain"}


def main(
    shape: Annotated[str, typer.Option(help=f"One of: {', '.join(SHAPES)}.")] = "pubmedqa",
    rounds: Annotated[int, typer.Option(help="Times both are done, after a warm-up.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
    alone: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Time both forms of the update, compare their gradients, and measure each one's memory alone."""
    if alone:
        updates = Updates(FORMS[alone])
        before = _peak_gib()
        updates.gradient(groups(SHAPES[shape], updates.vocabulary))
        print(json.dumps({"before_gib": before, "peak_gib": _peak_gib()}))
        return
    forms = {name: Updates(sharing) for name, sharing in FORMS.items()}
    trees = groups(SHAPES[shape], forms["shared"].vocabulary)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    gradients: dict[str, dict[str, Any]] = {}
    for number in range(rounds + 1):
        for name, updates in forms.items():
            begin = time.perf_counter()
            gradients[name] = updates.gradient(trees)
            if number:
                seconds[name].append(time.perf_counter() - begin)
                print(f"{name}: {seconds[name][-1]:.2f} s", flush=True)
    gap = max(
        float((a - gradients["repeated"][n]).abs().max() / gradients["repeated"][n].abs().max())
        for n, a in gradients["shared"].items()
    )
    sides = {name: spread(seconds[name]) | _alone(shape, name) for name in forms}
    ratio = sides["repeated"]["median_s"] / sides["shared"]["median_s"]
    results = {**sides, "ratio": ratio, "largest_relative_gradient_gap": gap}
    settings = {"shape": vars(SHAPES[shape]), "rounds": rounds}
    write_record(out / f"shared_prefix_{shape}.json", main.__doc__ or "", settings, results)
    print(json.dumps(results, indent=1))


def _alone(shape: str, form: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.shared_prefix", "--shape", shape, "--alone", form]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _peak_gib() -> float:
    return own_peak()["host"] / 2**30


if __name__ == "__main__":
    typer.run(main)
