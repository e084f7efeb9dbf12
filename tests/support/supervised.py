"""Supervised jobs small enough for a test: a tiny model, made data, real Ray Train."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from medray.actors.training.ray_train import Host
from medray.commands.check_config import JOBS
from medray.config.supervised import SupervisedJob
from medray.observability.console.plain import QuietConsole
from medray.runs.launch_supervised import Task, train_rank
from medray.runs.tokenise import tokenise_dataset

STAGES = ("pt", "sft", "rm", "prm", "dpo", "orpo", "kto")
ADAPTED = ("dpo", "kto")


def supervised_settings(method: str, tiny: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a run of a few seconds; `changes` are top-level keys."""
    settings: dict[str, Any] = {
        "out": str(folder / "run"),
        "model": {"path": str(tiny)} | ({"lora": {"rank": 4}} if method in ADAPTED else {}),
        "data": {"num_train": 24, "num_eval": 6},
        "batch": {"rows_per_step": 4, "num_steps": 4},
        "optim": {"lr": 3e-3},
        "checkpoint": {"every": 2},
        "evaluation": {"every": 2, "num_rows": 6},
        "workers": {"learner": {"cpus": 0.4}},
        "logging": {"console": "quiet", "tensorboard": False},
    }
    return settings | changes


def supervised_job(method: str, tiny: Path, folder: Path, **changes: Any) -> SupervisedJob:
    """The settings as a checked job."""
    module, _, name = JOBS[method].partition(":")
    schema = getattr(importlib.import_module(module), name)
    return schema.model_validate(supervised_settings(method, tiny, folder, **changes))


class Here(Host):
    """The only worker, in this process."""

    def __init__(self) -> None:
        super().__init__(QuietConsole(), rank=0, world_size=1)

    def report(self, step: int, checkpoint: Path | None) -> None:
        """Nobody listens."""


def train_here(method: str, job: SupervisedJob) -> None:
    """The whole of a run but Ray Train."""
    train_rank(job, Task(method, tokenise_dataset(method, job), {}, time.time()), Here())
