"""How long is a GRPO step, everything in it, against TRL's GRPOTrainer: same model, data, sizes and dtype, in turn.

python -m benchmarks.grpo_vs_trl --workload icd10 --rounds 2 --steps 3     (pip install trl first)
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.record import spread, write_record
from benchmarks.sides import run_medray, run_trl
from benchmarks.workloads import WORKLOADS, grpo_settings

WARM_UP = 1


def main(
    workload: Annotated[str, typer.Option(help=f"One of: {', '.join(WORKLOADS)}.")] = "icd10",
    rounds: Annotated[int, typer.Option(help="Times the two sides take turns.")] = 2,
    steps: Annotated[int, typer.Option(help="Counted steps a round, after one warm-up step.")] = 3,
    micro_batch: Annotated[int, typer.Option(help="TRL's per-device batch.")] = 16,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Time both sides and print the ratio of the medians."""
    ours: list[float] = []
    theirs: list[float] = []
    phases: dict[str, list[float]] = {}
    peak = 0.0
    for number in range(rounds):
        for row in _medray_steps(workload, steps):
            ours.append(row["time/step_s"])
            for key, value in row.items():
                if key.startswith("time/"):
                    phases.setdefault(key, []).append(value)
        found = run_trl("trl_grpo", workload, WARM_UP + steps, micro_batch)
        theirs += found["step_s"][WARM_UP:]
        peak = max(peak, found["peak_gib"])
        print(
            f"round {number + 1}/{rounds}: medray {ours[-steps:]}, TRL {theirs[-steps:]}",
            flush=True,
        )
    medray, trl = spread(ours), spread(theirs)
    results: dict[str, Any] = {
        "medray": medray
        | {"phases_median_s": {k: sorted(v)[len(v) // 2] for k, v in phases.items()}},
        "trl": trl | {"peak_gib": peak},
        "ratio": trl["median_s"] / medray["median_s"],
    }
    settings = {
        "workload": workload,
        "rounds": rounds,
        "steps": steps,
        "warm_up": WARM_UP,
        "micro_batch": micro_batch,
    }
    write_record(out / f"grpo_vs_trl_{workload}.json", main.__doc__ or "", settings, results)
    print(
        f"{workload}: medray {medray['median_s']:.1f} s, TRL {trl['median_s']:.1f} s a step: {results['ratio']:.1f}x"
    )


def _medray_steps(name: str, steps: int) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        settings = grpo_settings(WORKLOADS[name](), f"{folder}/run", WARM_UP + steps)
        return run_medray("grpo", settings)[WARM_UP:]


if __name__ == "__main__":
    typer.run(main)
