"""Checkpoints: Hugging Face folders with the trainer's state beside the weights, written whole or not at all."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from medray.errors import CheckpointError
from medray.models.packed import PackedModel
from medray.models.quiet import quiet
from medray.models.run_folder import SCALARS, checkpoints, load_scalars, step_of
from medray.observability.atomic import explain_full_disk, replace_dir

STATE = "trainer_state.safetensors"


def save_checkpoint(
    out: Path,
    step: int,
    policy: PackedModel,
    state: dict[str, Any],
    *,
    keep_last: int,
    keep_steps: frozenset[int] = frozenset(),
) -> Path:
    """Write `out/checkpoints/step_N`; older checkpoints beyond `keep_last` are removed afterwards.

    Args:
        out: run folder.
        step: step the state belongs to.
        policy: full weights, or the adapter alone under LoRA, are written in Hugging Face layout.
        state: `tensors` (name -> tensor) and `scalars` (JSON values).
        keep_last: how many of the newest checkpoints stay.
        keep_steps: steps whose checkpoints stay, too.

    Raises:
        ResourceError: the disk is full; nothing half-written is left.
    """
    folder = out / "checkpoints"
    final = folder / f"step_{step:06d}"
    partial = folder / f".{final.name}.partial"
    with _explained(final):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            _write(partial, policy, state)
            replace_dir(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    for old in checkpoints(out)[:-keep_last]:
        if step_of(old) not in keep_steps:
            shutil.rmtree(old)
    return final


def _write(folder: Path, policy: PackedModel, state: dict[str, Any]) -> None:
    with quiet():
        (policy.adapter or policy.module).save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    save_file({name: t.contiguous() for name, t in state["tensors"].items()}, folder / STATE)
    scalars = json.dumps(state["scalars"], indent=2, sort_keys=True)
    (folder / SCALARS).write_text(scalars + "\n", encoding="utf-8")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """A full disk as one line; safetensors reports it in an error of its own."""
    try:
        with explain_full_disk(path):
            yield
    except SafetensorError as error:
        if "os error 28" not in str(error) and "os error 122" not in str(error):
            raise
        with explain_full_disk(path):
            raise OSError(errno.ENOSPC, "no space left") from None


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
