"""Finding the checkpoints of a run and reading the light part of their state; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medray.errors import CheckpointError

SCALARS = "trainer_state.json"


def checkpoints(out: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted(p for p in (out / "checkpoints").glob("step_*") if (p / SCALARS).is_file())


def load_scalars(checkpoint: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint's state.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return json.loads((checkpoint / SCALARS).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{checkpoint}: {SCALARS} cannot be read ({error}); remove the folder to go on from an older one"
        ) from None
