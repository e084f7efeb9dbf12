"""A supervised job whose worker is killed, and then the whole job: it ends with the undisturbed run's weights."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from medray.config.supervised import SupervisedJob
from medray.storage.manifest import read_provenance
from medray.storage.metrics_file import read_metrics
from medray.storage.run_folder import checkpoints, step_of
from tests.support.jobs import start_job
from tests.support.running import actor_processes, train_rows, wait_for_step
from tests.support.supervised import supervised_job, supervised_settings, train_here

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

STEPS = 12


@dataclass(frozen=True)
class Trained:
    """Two stages in one folder: PT in this process, then SFT as a job whose processes were killed."""

    folder: Path
    undisturbed: SupervisedJob

    @property
    def out(self) -> Path:
        return self.folder / "runs" / "sft"


def _kill_job(process: subprocess.Popen[str]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    for child in children:
        if child.is_running():
            child.kill()
    process.wait(30)


def _outcome(out: Path) -> tuple[str, list[Any]]:
    weights = (checkpoints(out)[-1] / "adapter_model.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest(), [row.untimed() for row in read_metrics(out)]


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Kill the worker at step 3 and the job at step 7, and start the job again."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "runs").mkdir()
    pt = supervised_job("pt", tiny_model, folder, out=str(folder / "runs" / "pt"))
    train_here("pt", pt)
    changes: dict[str, Any] = {
        "model": {"path": "runs/pt", "lora": {"rank": 4, "dropout": 0.1}},
        "batch": {"rows_per_step": 4, "num_steps": STEPS},
        "neftune_alpha": 5.0,
        "checkpoint": {"every": 2, "keep_last": 1},
    }
    settings = supervised_settings("sft", tiny_model, folder, out="runs/sft", **changes)
    process = start_job(settings, job="sft", folder=folder)
    wait_for_step(folder / "runs" / "sft", 3, process)
    workers = actor_processes(psutil.Process(process.pid), "RayTrainWorker")
    assert workers, "no worker of Ray Train runs"
    for worker in workers:
        worker.kill()
    wait_for_step(folder / "runs" / "sft", 7, process)
    _kill_job(process)
    process = start_job(settings, job="sft", folder=folder)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    changes["model"] |= {"path": pt.out}
    undisturbed = supervised_job(
        "sft", tiny_model, folder, out=str(folder / "undisturbed"), **changes
    )
    threads = undisturbed.workers.learner.num_threads  # sums of floats depend on it
    torch.set_num_threads(threads)
    train_here("sft", undisturbed)
    return Trained(folder, undisturbed)


def test_a_killed_run_ends_with_the_undisturbed_weights(trained: Trained) -> None:
    """Only this kills a worker of Ray Train and a whole supervised job."""
    starts = json.loads((trained.out / "provenance.json").read_text())["starts"]
    assert len(starts) == 3, "begun, a worker started again, the job started again"
    assert _outcome(trained.out) == _outcome(Path(trained.undisturbed.out))


def test_relative_paths_are_from_where_the_job_is_started(trained: Trained) -> None:
    """The second stage names the first one's run folder, as the YAML of `jobs/configs` does."""
    rows = [row.step for row in train_rows(trained.out)]
    assert rows == list(range(1, STEPS + 1))
    assert (trained.out / "report.html").is_file()
    assert len(read_provenance(trained.out)) == 3
    assert step_of(checkpoints(trained.out)[-1]) == STEPS
