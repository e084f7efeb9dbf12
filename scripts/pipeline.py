"""PT, SFT, RM, DPO, GRPO and their table, one job after another: what docs/PIPELINE.md shows, `make pipeline`.

A stage whose run has come to its last step is passed over, and one that was interrupted goes on, so that the same
command finishes what was begun.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from medray.commands.job_file import load_job
from medray.storage.run_folder import checkpoints, load_scalars

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("pt", "sft", "rm", "dpo", "grpo")


def config_of(job: str) -> str:
    """The YAML of a stage, from the project's folder."""
    return f"jobs/configs/{job}_pipeline_cpu.yaml"


def is_finished(job: str) -> bool:
    """True when the stage's run folder has the checkpoint of its last step."""
    settings = load_job(ROOT / config_of(job))
    found = checkpoints(ROOT / str(vars(settings)["out"]))
    if not found:
        return False
    scalars = load_scalars(found[-1])
    return bool(scalars.get("done")) or scalars["step"] >= vars(settings).get("num_steps", 10**9)


def main() -> None:
    """Run what is left of the pipeline."""
    began = time.monotonic()
    for job in (*STAGES, "evaluate"):
        command = f"python jobs/{job}.py --config {config_of(job)}"
        if job in STAGES and is_finished(job):
            print(f"{command}: its run is at its last step", flush=True)
            continue
        print(f"\n$ {command}", flush=True)
        started = time.monotonic()
        done = subprocess.run([sys.executable, *command.split()[1:]], cwd=ROOT)
        if done.returncode:
            raise SystemExit(f"error: {command} ended with exit code {done.returncode}")
        print(f"({job}: {time.monotonic() - started:.0f} s)", flush=True)
    print(f"\nthe whole pipeline: {(time.monotonic() - began) / 60:.1f} min")


if __name__ == "__main__":
    main()
