"""Where does a GRPO step go, phase by phase, and how much of it could not be avoided? The real job, its real rollouts.

The least of a phase: multiplications at the speed of this machine's matrix products, measured before and after the
job; of a weight sync, one copy of the weights.

python -m benchmarks.step --workload pubmedqa --steps 3
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.record import write_record
from benchmarks.run_trees import job_of, steps_of
from benchmarks.sides import run_medray
from benchmarks.work import Least, Sizes, copy_seconds, gemm_peak
from benchmarks.workloads import WORKLOADS, grpo_settings

WARM_UP = 1


def main(
    workload: Annotated[str, typer.Option(help=f"One of: {', '.join(WORKLOADS)}.")] = "icd10",
    steps: Annotated[int, typer.Option(help="Counted steps, after one warm-up step.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Run the job, and set each phase's seconds beside the least it could take."""
    from medray.config.model import ModelConfig
    from medray.models.load import load_policy

    module = load_policy(ModelConfig(path="smollm2-135m")).module
    sizes, weights = Sizes.of(module), sum(p.numel() * 4 for p in module.parameters())
    config = module.config
    del module
    peaks = [gemm_peak(config)]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        ran = run_medray("grpo", grpo_settings(WORKLOADS[workload](), str(run), WARM_UP + steps))
        startup = json.loads((run / "startup.json").read_text())
        assert job_of(run).algorithm.kl.coef == 0, "a reference would be work, too"
        sampled = list(steps_of(run, trained=False))[WARM_UP:]
        trained = list(steps_of(run, trained=True))[WARM_UP:]
    peaks.append(gemm_peak(config))
    peak = statistics.mean(peaks)
    flop = {
        "rollout": [sizes.forward_flop(Least.of(trees)) for trees in sampled],
        "update": [3 * sizes.forward_flop(Least.of(trees)) for trees in trained],
    }
    least = {phase: statistics.mean(of) / peak for phase, of in flop.items()}
    done = _mean_seconds(ran.steps[WARM_UP:])
    step_s = done.pop("step")
    least["sync"] = copy_seconds(weights)
    phases = {name: {"s": s, "least_s": least.get(name, 0.0)} for name, s in done.items()}
    results: dict[str, Any] = {
        "step_s": step_s,
        "gemm_peak_gflops": [p / 1e9 for p in peaks],
        "phases": phases,
        "startup": startup,
        "peak_gib": ran.peak_gib,
    }
    settings = {"workload": workload, "steps": steps, "warm_up": WARM_UP}
    write_record(out / f"step_{workload}.json", main.__doc__ or "", settings, results)
    _show(f"{workload}, matrix products {peak / 1e9:.0f} GFLOP/s", step_s, phases)
    parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in startup["phases_s"].items())
    print(f"{startup['total_s']:.0f} s from start to the end of the first step: {parts}")
    print(f"{ran.peak_gib:.1f} GiB, all processes added up")


def _mean_seconds(steps: list[dict[str, float]]) -> dict[str, float]:
    """Of each phase, and of the step."""
    names = [key for key in steps[0] if key.startswith("time/")]
    return {
        key.removeprefix("time/").removesuffix("_s"): statistics.mean(row[key] for row in steps)
        for key in names
    }


def _show(title: str, step_s: float, phases: dict[str, dict[str, float]]) -> None:
    table = Table(title=title)
    for column in ("phase", "seconds", "of the step", "least seconds", "least / done"):
        table.add_column(column, justify="right")
    for phase, of in phases.items():
        cells = f"{of['s']:.3f}", f"{of['s'] / step_s:.1%}", f"{of['least_s']:.2f}"
        table.add_row(phase, *cells, f"{of['least_s'] / of['s']:.0%}" if of["s"] else "")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
