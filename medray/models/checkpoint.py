"""Checkpoints: Hugging Face folders with the trainer's state beside the weights, written whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from medray.errors import CheckpointError
from medray.models.load import PolicyModel
from medray.models.run_folder import SCALARS, checkpoints, load_scalars
from medray.observability.atomic import replace_dir

STATE = "trainer_state.safetensors"


def save_checkpoint(
    out: Path, step: int, policy: PolicyModel, state: dict[str, Any], *, keep_last: int
) -> Path:
    """Write `out/checkpoints/step_N`; older checkpoints beyond `keep_last` are removed afterwards.

    Args:
        out: run folder.
        step: step the state belongs to.
        policy: full weights, or the adapter alone under LoRA, are written in Hugging Face layout.
        state: `tensors` (name -> tensor) and `scalars` (JSON values).
    """
    folder = out / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step_{step:06d}"
    partial = folder / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (policy.adapter or policy.module).save_pretrained(partial)
    policy.tokenizer.save_pretrained(partial)
    save_file({name: t.contiguous() for name, t in state["tensors"].items()}, partial / STATE)
    (partial / SCALARS).write_text(
        json.dumps(state["scalars"], indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    replace_dir(partial, final)
    for old in checkpoints(out)[:-keep_last]:
        shutil.rmtree(old)
    return final


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Tensors and scalars that `save_checkpoint` wrote."""
    try:
        with safe_open(checkpoint / STATE, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint}: {STATE} cannot be read ({error}); remove the folder to go on from an older one"
        ) from None
    return {"tensors": tensors, "scalars": load_scalars(checkpoint)}
