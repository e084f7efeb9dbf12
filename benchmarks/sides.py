"""The two sides of a comparison, each in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import ROOT
from medray.planning.record import MEMORY_FILE
from medray.storage.metrics_file import read_metrics


@dataclass(frozen=True)
class Ran:
    """What a job of medray left in its run folder."""

    steps: list[dict[str, float]]  # metrics of each
    peak_gib: float  # of its processes, added up


def run_medray(job: str, settings: dict[str, Any]) -> Ran:
    """Run `jobs/JOB.py`."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(json.dumps(settings))
        file.flush()
        _run([sys.executable, f"jobs/{job}.py", "--config", file.name])
    run = Path(settings["out"])
    rows = [row for row in read_metrics(run) if row.kind == "train"]
    measured = json.loads((run / MEMORY_FILE).read_text())["measured"]
    peak = sum(of["host"] for of in measured.values()) / 2**30
    return Ran([dict(row.metrics) for row in rows], peak)


def run_trl(script: str, *arguments: str | int) -> dict[str, Any]:
    """Run one of the scripts on TRL; what its last line says."""
    command = [sys.executable, "-m", f"benchmarks.{script}", *(str(a) for a in arguments)]
    return json.loads(_run(command).strip().splitlines()[-1])


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
        raise SystemExit(done.returncode)
    return done.stdout
