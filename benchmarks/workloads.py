"""The GRPO workloads that are timed, as settings both sides read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Workload:
    """One batch shape."""

    name: str
    data: dict[str, Any]
    max_new_tokens: int
    num_prompts: int = 8
    num_samples: int = 8


def pubmedqa_path() -> str:
    """`ori_pqal.json` under MEDRAY_DATA."""
    return os.path.join(os.environ.get("MEDRAY_DATA", "data"), "pubmedqa", "ori_pqal.json")


WORKLOADS = {
    "icd10": lambda: Workload("icd10", {"kind": "icd10", "num_train": 512, "num_eval": 0}, 16),
    "pubmedqa": lambda: Workload(
        "pubmedqa", {"kind": "pubmedqa", "path": pubmedqa_path(), "num_eval": 0}, 32
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
        "scale": {
            "learner": {"cpus": 1, "threads": os.cpu_count()},
            "rollout": {"cpus": 1, "threads": os.cpu_count()},
            "grader": {"cpus": 0},
        },
    }
