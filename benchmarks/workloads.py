"""The workloads that are timed, as settings both sides read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medray.types import PromptTree


@dataclass(frozen=True)
class Workload:
    """One batch shape."""

    name: str
    data: dict[str, Any]
    max_new_tokens: int
    num_prompts: int = 8
    num_samples: int = 8


def real(*parts: str) -> str:
    """A file under MEDRAY_DATA."""
    return os.path.join(os.environ.get("MEDRAY_DATA", "data"), *parts)


WORKLOADS = {
    "icd10": lambda: Workload("icd10", {"kind": "icd10", "num_train": 512, "num_eval": 0}, 16),
    "pubmedqa": lambda: Workload(
        "pubmedqa",
        {"kind": "pubmedqa", "path": real("pubmedqa", "ori_pqal.json"), "num_eval": 0},
        32,
    ),
    "long": lambda: Workload("long", {"kind": "icd10", "num_train": 512, "num_eval": 0}, 128),
}


def grpo_settings(workload: Workload, out: str, num_steps: int) -> dict[str, Any]:
    """A medray job that runs `workload` and nothing else."""
    return {
        "out": out,
        "num_steps": num_steps,
        "data": workload.data,
        "rollout": {
            "prompts_per_step": workload.num_prompts,
            "samples_per_prompt": workload.num_samples,
            "max_new_tokens": workload.max_new_tokens,
        },
        "optim": {"lr": 1e-6},
        "evaluation": {"num_items": 0},
        "checkpoint": {"every": 10**6},
        "logging": {"tensorboard": False, "console": "quiet"},
        "workers": {
            "learner": {"cpus": 1, "threads": os.cpu_count()},
            "rollout": {"cpus": 1, "threads": os.cpu_count()},
            "grader": {"cpus": 0},
        },
    }


@dataclass(frozen=True)
class Supervised:
    """Rows that make one step, and how they are trained."""

    stage: str
    data: dict[str, Any]
    loss: dict[str, Any]


SUPERVISED = {
    "sft": lambda rows: Supervised("sft", _file("medquad", "medquad.jsonl", rows=rows), {}),
    "dpo": lambda rows: Supervised(
        "dpo", _file("medicalgpt", "dpo_zh_500.jsonl", rows=rows), {"reference": "separate"}
    ),
    "rm": lambda rows: Supervised("rm", _file("medicalgpt", "dpo_zh_500.jsonl", rows=rows), {}),
}


def supervised_settings(
    workload: Supervised, num_rows: int, out: str, num_steps: int
) -> dict[str, Any]:
    """A medray job each of whose steps trains all `num_rows` rows."""
    return {
        "out": out,
        "data": workload.data,
        "chat": {"max_tokens": 1024},
        "batch": {"rows_per_step": num_rows, "num_steps": num_steps},
        "optim": {"lr": 1e-5},
        "evaluation": {"num_rows": 0},
        "checkpoint": {"every": 10**6},
        "logging": {"tensorboard": False, "console": "quiet"},
        "workers": {"learner": {"cpus": 1, "threads": os.cpu_count()}},
    } | ({"loss": workload.loss} if workload.loss else {})


def tokenised(workload: Supervised) -> list[PromptTree]:
    """The rows as medray trains them."""
    from medray.config.dpo import DpoJob
    from medray.config.rm import RmJob
    from medray.config.sft import SftJob
    from medray.runs.tokenise import tokenise_dataset

    job = {"sft": SftJob, "dpo": DpoJob, "rm": RmJob}[workload.stage]
    settings = supervised_settings(workload, 1, "runs/unused", 1)
    table = tokenise_dataset(workload.stage, job.model_validate(settings)).train
    return [table[i] for i in range(len(table))]


def _file(*parts: str, rows: int) -> dict[str, Any]:
    return {"path": real(*parts), "num_train": rows, "num_eval": 0}
