"""`medray tune` on a tiny model, and a job that takes what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medray.planning.tuned import BATCH, BLOCK, LEARNER_THREADS, ROLLOUT_THREADS
from tests.support.jobs import ROOT, tiny_settings


@pytest.mark.slow
def test_a_job_takes_what_was_found_for_it(tiny_model: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_model, tmp_path)
    settings["workers"] |= {"learner": {"threads": "auto"}, "rollout": {"threads": "auto"}}
    config, file = tmp_path / "grpo_tiny.yaml", tmp_path / "tuned.json"
    config.write_text(json.dumps(settings), encoding="utf-8")
    environment = os.environ | {"MEDRAY_TUNED": str(file), "PYTHONPATH": str(ROOT)}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = run("-m", "medray.cli", "tune", str(config), "--steps", "1")
    [entry] = json.loads(file.read_text())
    assert entry["situation"]["model"] == str(tiny_model)
    assert set(entry["values"]) == {LEARNER_THREADS, ROLLOUT_THREADS, BLOCK, BATCH}
    assert f"{BLOCK}=128" in said, "every block size is tried"
    assert not (tmp_path / "run").exists(), "trials leave no run behind"

    entry["values"] |= {BLOCK: 64, BATCH: 512}
    file.write_text(json.dumps([entry]))
    assert f"{BLOCK}=64" in run("jobs/grpo.py", "--config", str(config))
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert recorded["rollout"]["engine"]["block_tokens"] == 64
    assert recorded["rollout"]["engine"]["batch_tokens"] == 512
