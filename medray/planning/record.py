"""`memory.json` in the run folder: what was predicted, beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medray.config.base import Section
from medray.errors import MedrayError
from medray.observability.atomic import write_text

MEMORY_FILE = "memory.json"
GIB = 2**30


def record_memory(
    folder: str | Path, job: Section, measured: Mapping[str, Mapping[str, int]]
) -> str:
    """Write the file; returns one line for people.

    Args:
        folder: the run folder.
        job: what ran.
        measured: peak bytes (`host`, and `gpu` where there is one) of each process, named after its role
            ("rollout-0", "learner rank 1").
    """
    from medray.planning.plan import plan_job

    try:
        plan = plan_job(job)
    except (MedrayError, AssertionError, ValueError) as error:
        predicted: dict[str, Any] = {"error": str(error)}
        roles: dict[str, int] = {}
    else:
        roles = {r.name: r.memory.device_bytes for r in plan.roles}
        predicted = {
            r.name: {
                "bytes": r.memory.device_bytes,
                "host_bytes": r.memory.host_bytes,
                "parts": dict(r.memory.parts),
            }
            for r in plan.roles
        }
        predicted["row_tokens"] = plan.row.num_tokens
    told = {
        "predicted": predicted,
        "measured": {name: dict(peak) for name, peak in measured.items()},
    }
    write_text(Path(folder, MEMORY_FILE), json.dumps(told, indent=2) + "\n")
    return "; ".join(_compare(role, size, measured) for role, size in roles.items())


def _compare(role: str, predicted: int, measured: Mapping[str, Mapping[str, int]]) -> str:
    peaks = [
        peak.get("gpu", peak["host"]) for name, peak in measured.items() if name.startswith(role)
    ]
    seen = f"{max(peaks) / GIB:.2f}" if peaks else "?"
    return f"{role} {seen} GiB (at most {predicted / GIB:.2f} planned)"
