"""Where a run continues from, and whether it is still the same run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medray.config.rl import RlJob
from medray.errors import CheckpointError
from medray.models.run_folder import checkpoints, load_scalars

MAY_CHANGE = (
    "out",
    "num_steps",
    "scale",
    "logging",
    "checkpoint",
    "evaluation",
    "deadlines",
    "no_signal_patience",
    "sync",
)


@dataclass(frozen=True)
class Resume:
    """The newest whole checkpoint of a run."""

    checkpoint: Path
    step: int
    prompt_position: int
    scalars: Mapping[str, Any]  # everything the driver saved


def find_resume(job: RlJob) -> Resume | None:
    """The checkpoint to continue from, or None for a fresh run.

    Raises:
        CheckpointError: the folder holds a run with other settings, a finished one, or one that must not be resumed.
    """
    out = Path(job.out)
    found = checkpoints(out)
    if not found:
        return None
    if job.checkpoint.resume == "never":
        raise CheckpointError(
            f"{out} already holds a run: choose another out=, or checkpoint.resume=auto to continue it"
        )
    _require_same_settings(out, job)
    scalars = load_scalars(found[-1])
    if scalars["step"] >= job.num_steps:
        raise CheckpointError(
            f"{out} is finished at step {scalars['step']}: raise num_steps to go on, or choose another out="
        )
    return Resume(found[-1], scalars["step"], scalars["prompt_position"], scalars)


def _require_same_settings(out: Path, job: RlJob) -> None:
    try:
        before = _with_defaults(json.loads((out / "config.json").read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError):
        raise CheckpointError(
            f"{out} has checkpoints but no readable config.json: choose another out="
        ) from None
    now = job.model_dump(mode="json")
    for key in MAY_CHANGE:
        before.pop(key, None)
        now.pop(key, None)
    changed = list(_differences(before, now))
    if changed:
        key, old, new = changed[0]
        raise CheckpointError(
            f"{out} was trained with {key}={old}, this config says {new}: go on as it was, or choose another out="
        )


def _with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """Keys that were not there when the run began had no effect on it but their defaults'."""
    try:
        return RlJob.model_validate(settings).model_dump(mode="json")
    except ValidationError:
        return settings


def _differences(before: Any, now: Any, key: str = "") -> Any:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _differences(
                before.get(name), now.get(name), f"{key}.{name}" if key else name
            )
    elif before != now:
        yield key, before, now
