"""`memory.json` in the run folder: what was predicted, beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medray.config.base import Section
from medray.errors import MedrayError
from medray.storage.atomic import write_text
from medray.system.units import GIB

if TYPE_CHECKING:
    from medray.planning.plan import Plan

MEMORY_FILE = "memory.json"


def record_memory(
    folder: str | Path,
    job: Section,
    measured: Mapping[str, Mapping[str, int]],
    *,
    longest: int,
    step_tokens: int,
) -> str:
    """Write the file; returns one line for people.

    There are two predictions: `limits`, with sequences as long as the settings allow, which is what `medray plan`
    says, and `data`, with what there was, which is what the measured peaks are to be compared with.

    Args:
        folder: the run folder.
        job: what ran.
        measured: peak bytes (`host`, and `gpu` where there is one) of each process, named after its role
            ("rollout-0", "learner rank 1").
        longest: tokens of the longest prompt (RL), or row (supervised), of the data.
        step_tokens: the most that a step computed, over all ranks.
    """
    from medray.planning.plan import plan_job
    from medray.planning.tokens import as_computed, largest_row, num_shares, with_longest

    try:
        known = with_longest(job, longest)
        row = as_computed(largest_row(known), -(-step_tokens // num_shares(job)))
        plans = {"limits": plan_job(job), "data": plan_job(known, row=row)}
    except (MedrayError, AssertionError, ValueError) as error:
        predicted: dict[str, Any] = {"error": str(error)}
        line = f"no prediction ({error})"
    else:
        predicted = {name: _as_json(plan) for name, plan in plans.items()}
        line = "; ".join(_compare(role.name, plans, measured) for role in plans["data"].roles)
    told = {
        "predicted": predicted,
        "measured": {name: dict(peak) for name, peak in measured.items()},
    }
    write_text(Path(folder, MEMORY_FILE), json.dumps(told, indent=2) + "\n")
    return line


def _as_json(plan: Plan) -> dict[str, Any]:
    roles = {
        r.name: {
            "bytes": r.memory.seen_bytes, "host_bytes": r.memory.host_bytes,
            "parts": dict(r.memory.parts), "mapped": dict(r.memory.mapped),
        }
        for r in plan.roles
    }  # fmt: skip
    return roles | {"row_tokens": plan.row.num_tokens}


def _compare(
    role: str, plans: Mapping[str, Plan], measured: Mapping[str, Mapping[str, int]]
) -> str:
    peaks = [
        peak.get("gpu", peak["host"]) for name, peak in measured.items() if name.startswith(role)
    ]
    seen = f"{max(peaks) / GIB:.2f}" if peaks else "?"
    data, limits = (
        next(r.memory.seen_bytes for r in plans[name].roles if r.name == role) / GIB
        for name in ("data", "limits")
    )
    return f"{role} {seen} GiB ({data:.2f} predicted, {limits:.2f} at the limits)"
