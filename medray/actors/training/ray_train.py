"""Ray Train as the host of supervised training: workers, restarts, checkpoints known to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import train as ray_train
from ray.train import (
    Checkpoint,
    CheckpointUploadMode,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
)

from medray.actors.training.remote_console import ANSWER_S, RemoteConsole
from medray.config.supervised import SupervisedJob
from medray.errors import MedrayError, WorkerLost
from medray.observability.console.base import Console
from medray.observability.logging import setup_from_environment
from medray.system.cpu import use_cpu

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Host:
    """What the training function knows of the worker it runs in."""

    console: Console
    rank: int
    world_size: int

    def report(self, step: int, checkpoint: Path | None) -> None:
        """Tell Ray Train of a checkpoint that rank 0 has written; a barrier, so every rank calls it."""
        reported = Checkpoint.from_directory(str(checkpoint.absolute())) if checkpoint else None
        ray_train.report(
            {"step": step},
            checkpoint=reported,
            checkpoint_dir_name=f"step_{step:06d}",
            checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD,
        )


Train = Callable[[SupervisedJob, Any, Host], None]


def run_workers(job: SupervisedJob, train: Train, data: Any, relay: Any) -> None:
    """Run `train(job, data, host)` on every worker, again from the newest checkpoint when one dies.

    Args:
        job: how many workers, and what each takes.
        train: importable; runs to the end of the training.
        data: goes through the object store once.
        relay: from `shown_on`.

    Raises:
        MedrayError: what a worker raised; it is not tried again.
        WorkerLost: workers died more often than `workers.max_restarts`.
    """
    from ray.train.torch import TorchConfig, TorchTrainer

    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # relative paths mean the same as in every other job
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    workers = job.workers.learner
    _forget_snapshots(Path(job.out) / CHECKPOINTS)
    shared = ray.put(data)

    def worker(settings: dict[str, Any]) -> None:
        _work(job, train, settings["data"], settings["relay"])

    trainer = TorchTrainer(
        worker,
        train_loop_config={"data": [shared], "relay": relay},
        torch_config=TorchConfig(backend="nccl" if job.model.device == "cuda" else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=(workers.min_count, workers.count) if workers.min_count else workers.count,
            use_gpu=workers.gpus > 0,
            resources_per_worker=workers.bundle,
        ),
        run_config=RunConfig(
            name=CHECKPOINTS,
            storage_path=str(Path(job.out).absolute()),
            failure_config=FailureConfig(max_failures=job.workers.max_restarts),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        _raise_failure(relay)
        raise WorkerLost(f"training workers: {_last_line(error)}") from None
    _raise_failure(relay)


def _work(job: SupervisedJob, train: Train, data: list[Any], relay: Any) -> None:
    if ray.get(relay.failure.remote(), timeout=ANSWER_S) is not None:
        return
    setup_from_environment()
    use_cpu(job.workers.learner.num_threads)
    context = ray_train.get_context()
    host = Host(
        RemoteConsole(relay),
        context.get_world_rank(),
        context.get_world_size(),
    )
    try:
        train(job, ray.get(data[0]), host)
    except MedrayError as error:
        ray.get(relay.fail.remote(error), timeout=ANSWER_S)
        raise


def _forget_snapshots(folder: Path) -> None:
    """Remove Ray Train's own list of checkpoints: what lies in the folder is the truth, and old ones are removed."""
    for snapshot in folder.glob("*.json"):
        snapshot.unlink()


def _raise_failure(relay: Any) -> None:
    failure: Any = ray.get(relay.failure.remote(), timeout=ANSWER_S)
    if failure is not None:
        raise failure


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
