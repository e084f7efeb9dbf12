"""Supervised jobs killed: a worker, and the whole job; both end with the undisturbed run's weights."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.run_folder import checkpoints
from tests.support.jobs import ROOT
from tests.support.supervised import supervised_settings

pytestmark = pytest.mark.ray

STEPS = 12


def _start(settings: dict[str, Any]) -> subprocess.Popen[str]:
    path = Path(settings["out"]).parent / "job.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return subprocess.Popen(
        [sys.executable, "jobs/sft.py", "--config", str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _settings(model: Path, folder: Path) -> dict[str, Any]:
    return supervised_settings(
        "sft",
        model,
        folder,
        batch={"rows_per_step": 4, "num_steps": STEPS},
        model={"path": str(model), "lora": {"rank": 4, "dropout": 0.1}},
        neftune_alpha=5.0,
        checkpoint={"every": 2, "keep_last": 1},
    )


def _wait_for_step(process: subprocess.Popen[str], out: Path, step: int) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        if (out / "metrics.jsonl").is_file():
            rows = [row.step for row in read_metrics(out) if row.kind == "train"]
            if rows and rows[-1] >= step:
                return
        time.sleep(0.02)
    raise AssertionError(f"no step {step}")


def _kill_worker(process: subprocess.Popen[str]) -> None:
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "RayTrainWorker" in " ".join(child.cmdline())
    ]
    assert workers
    for worker in workers:
        worker.kill()


def _kill_job(process: subprocess.Popen[str]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    for child in children:
        if child.is_running():
            child.kill()


def _outcome(out: Path) -> tuple[str, list[Any]]:
    weights = (checkpoints(out)[-1] / "adapter_model.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest(), [row.untimed() for row in read_metrics(out)]


@pytest.fixture(scope="module")
def undisturbed(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[Any]]:
    settings = _settings(tiny_model, tmp_path_factory.mktemp("undisturbed"))
    process = _start(settings)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return _outcome(Path(settings["out"]))


@pytest.mark.parametrize("kill", [_kill_worker, _kill_job])
def test_a_killed_run_ends_with_the_undisturbed_weights(
    kill: Callable[[subprocess.Popen[str]], None],
    undisturbed: tuple[str, list[Any]],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    settings = _settings(tiny_model, tmp_path)
    out = Path(settings["out"])
    process = _start(settings)
    _wait_for_step(process, out, 5)
    kill(process)
    if kill is _kill_job:
        process.wait(30)
        process = _start(settings)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert len(json.loads((out / "provenance.json").read_text())["starts"]) == 2
    assert _outcome(out) == undisturbed
