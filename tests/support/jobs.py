"""RL jobs small enough for a test: a tiny model, real Ray, real vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from medray.config.grpo import GrpoJob

ROOT = Path(__file__).resolve().parents[2]


def choice_file(folder: Path, num_rows: int = 32) -> Path:
    """A JSONL of two-option questions."""
    path = folder / "choice.jsonl"
    rows = [
        {"id": str(i), "question": f"Is {i} even?", "options": ["yes", "no"], "answer": "AB"[i % 2]}
        for i in range(num_rows)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tiny_settings(model: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a run of a few seconds a step; `changes` are top-level keys."""
    settings: dict[str, Any] = {
        "out": str(folder / "run"),
        "num_steps": 2,
        "deterministic": True,
        "model": {"path": str(model)},
        "data": {"kind": "choice", "path": str(choice_file(folder)), "num_eval": 4},
        "rewards": [{"kind": "tests.support.rewards:EvenBytes"}],
        "rollout": {
            "prompts_per_step": 4,
            "samples_per_prompt": 4,
            "max_new_tokens": 8,
            "engine": {"kv_cache_gb": 1, "max_num_seqs": 16},
        },
        "optim": {"lr": 1e-3},
        "workers": {
            "learner": {"cpus": 0.5},
            "rollout": {"cpus": 0.5},
            "reference": {"cpus": 0.5},
            "grader": {"cpus": 0},
        },
        "checkpoint": {"every": 1},
        "evaluation": {"every": 100, "num_items": 4},
        "logging": {"console": "plain", "tensorboard": False},
        "deadlines": {"start_s": 240},
    }
    return settings | changes


def tiny_job(model: Path, folder: Path, **changes: Any) -> GrpoJob:
    """The settings as a checked job."""
    return GrpoJob.model_validate(tiny_settings(model, folder, **changes))


def start_job(
    settings: dict[str, Any], *overrides: str, job: str = "grpo", folder: Path = ROOT
) -> subprocess.Popen[str]:
    """Start jobs/JOB.py as a user would from `folder`, its output piped."""
    path = folder / Path(settings["out"]).parent / "job.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / f"{job}.py"), "--config", str(path), *overrides],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_job(
    settings: dict[str, Any], *overrides: str, timeout_s: float = 280, job: str = "grpo"
) -> tuple[int, str]:
    """Exit code and output of a whole job."""
    process = start_job(settings, *overrides, job=job)
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, output
