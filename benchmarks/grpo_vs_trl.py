"""How long is a GRPO step, everything in it, against TRL's GRPOTrainer: same model, data, sizes and dtype, in turn.

TRL is taken as it comes, and with the settings that are fastest here.

python -m benchmarks.grpo_vs_trl --workload icd10 --rounds 2 --steps 3     (pip install trl first)
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.record import spread, write_record
from benchmarks.sides import Ran, run_medray, run_trl
from benchmarks.workloads import WORKLOADS, grpo_settings

WARM_UP = 1
TRL = {"default": (8, True), "tuned": (16, False)}
"""Per-device batch and gradient checkpointing: what GRPOConfig comes with; the fastest that fits into 24 GiB."""


def main(
    workload: Annotated[str, typer.Option(help=f"One of: {', '.join(WORKLOADS)}.")] = "icd10",
    rounds: Annotated[int, typer.Option(help="Times the sides take turns.")] = 2,
    steps: Annotated[int, typer.Option(help="Counted steps a round, after one warm-up step.")] = 3,
    trl: Annotated[
        list[str] | None, typer.Option(help=f"TRL's settings, of {', '.join(TRL)}; repeat.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Time all sides and print the ratios of the medians."""
    variants = trl or list(TRL)
    if unknown := set(variants) - set(TRL):
        raise typer.BadParameter(f"--trl {', '.join(sorted(unknown))}: use one of {', '.join(TRL)}")
    seconds: dict[str, list[float]] = {name: [] for name in ("medray", *variants)}
    peaks = dict.fromkeys(seconds, 0.0)
    phases: dict[str, list[float]] = {}
    for number in range(rounds):
        ran = _medray(workload, steps)
        peaks["medray"] = max(peaks["medray"], ran.peak_gib)
        for row in ran.steps[WARM_UP:]:
            seconds["medray"].append(row["time/step_s"])
            for key, value in row.items():
                if key.startswith("time/"):
                    phases.setdefault(key, []).append(value)
        for name in variants:
            found = run_trl("trl_grpo", workload, WARM_UP + steps, *TRL[name])
            seconds[name] += found["step_s"][WARM_UP:]
            peaks[name] = max(peaks[name], found["peak_gib"])
        last = {name: [round(s, 1) for s in of[-steps:]] for name, of in seconds.items()}
        print(f"round {number + 1}/{rounds}, s a step: {last}", flush=True)
    results: dict[str, Any] = {
        name: spread(of) | {"peak_gib": peaks[name]} for name, of in seconds.items()
    }
    medray = results["medray"]
    medray["phases_median_s"] = {k: statistics.median(v) for k, v in phases.items()}
    for name in variants:
        results[name]["ratio"] = results[name]["median_s"] / medray["median_s"]
    settings = {"workload": workload, "rounds": rounds, "steps": steps, "warm_up": WARM_UP}
    settings["trl"] = {name: TRL[name] for name in variants}
    write_record(out / f"grpo_vs_trl_{workload}.json", main.__doc__ or "", settings, results)
    for name in variants:
        print(
            f"{workload}: medray {medray['median_s']:.1f} s ({peaks['medray']:.1f} GiB), TRL ({name}) "
            f"{results[name]['median_s']:.1f} s ({peaks[name]:.1f} GiB) a step: {results[name]['ratio']:.1f}x"
        )


def _medray(name: str, steps: int) -> Ran:
    with tempfile.TemporaryDirectory() as folder:
        settings = grpo_settings(WORKLOADS[name](), f"{folder}/run", WARM_UP + steps)
        return run_medray("grpo", settings)


if __name__ == "__main__":
    typer.run(main)
