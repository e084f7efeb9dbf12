"""Finding the checkpoints of a run and reading the light part of their state; imports no torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from medray.errors import CheckpointError

SCALARS = "trainer_state.json"


def checkpoints(out: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted(p for p in (out / "checkpoints").glob("step_*") if (p / SCALARS).is_file())


def step_of(checkpoint: Path) -> int:
    """The step a checkpoint belongs to."""
    return int(checkpoint.name.removeprefix("step_"))


def chosen_checkpoint(out: Path) -> Path | None:
    """The checkpoint a run is used by: the best by its held-out metric, else the newest; None if there is none."""
    found = checkpoints(out)
    if not found:
        return None
    best = load_scalars(found[-1]).get("selection", {}).get("best_step")
    return next((p for p in found if step_of(p) == best), found[-1])


def forget_run(out: Path) -> None:
    """Remove what an earlier run without a checkpoint left, so that a fresh one does not add to it."""
    for name in ("rollouts", "events"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("incidents.jsonl", "startup.json", "memory.json", "workers.json", "report.html"):
        (out / name).unlink(missing_ok=True)


def load_scalars(checkpoint: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint's state.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return json.loads((checkpoint / SCALARS).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{checkpoint}: {SCALARS} cannot be read ({error}): remove the folder to resume from an older checkpoint"
        ) from None
