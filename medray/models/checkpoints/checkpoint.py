"""Checkpoints: Hugging Face folders with the trainer's state beside the weights, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from medray.errors import CheckpointError, ResourceError, first_line
from medray.models.checkpoints.export import shared_names, stored_weights
from medray.models.checkpoints.saving import save_model
from medray.models.checkpoints.trainer_state import StateFiles, write_state
from medray.models.hf_logging import silent_hf
from medray.models.packed import PackedModel
from medray.storage.atomic import explain_full_disk, replace_dir
from medray.storage.run_folder import SCALARS, checkpoints, load_scalars, step_of


def save_checkpoint(
    out: Path,
    step: int,
    policy: PackedModel,
    state: Mapping[str, Any],
    *,
    keep_last: int,
    keep_steps: frozenset[int] = frozenset(),
    writer: bool = True,
) -> Path:
    """Write `out/checkpoints/step_N`; older checkpoints beyond `keep_last` are removed afterwards.

    Every rank must call it where weights or state are spread over ranks; one of them writes.

    Args:
        out: run folder.
        step: step the state belongs to.
        policy: full weights, or the adapter alone under LoRA, are written in Hugging Face layout.
        state: `tensors` (pairs of name and tensor) and `scalars` (JSON values).
        keep_last: how many of the newest checkpoints stay.
        keep_steps: steps whose checkpoints stay, too.
        writer: False on the ranks that only give what they hold.

    Raises:
        ResourceError: the disk is full; nothing half-written is left.
    """
    folder = out / "checkpoints"
    final = folder / f"step_{step:06d}"
    if not writer:
        for _ in chain(
            stored_weights(policy) if policy.placement.sharded else (), state["tensors"]
        ):
            pass
        return final
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


def try_save(out: Path, policy: PackedModel) -> None:
    """Write what of a checkpoint can fail for reasons other than the weights' values, and remove it again.

    The model's settings, the tokenizer and the adapter, in the folder where checkpoints go: a run must not train for
    hours to find at its first checkpoint that one cannot be written.

    Args:
        out: run folder.
        policy: the loaded model, before its weights are spread over ranks.

    Raises:
        CheckpointError: the model, the tokenizer or the folder refuses; names which folder and why.
        ResourceError: the disk is full.
    """
    folder = out / "checkpoints"
    partial = folder / f".trial.{os.getpid()}.partial"
    with _explained(partial):
        try:
            partial.mkdir(parents=True)
            with silent_hf():
                if policy.adapter is not None:
                    save_model(policy.adapter, partial)
                else:  # one weight stands for all
                    name, weight = next(iter(policy.module.state_dict().items()))
                    one = {name: weight.detach()[:1].cpu().clone()}
                    save_model(policy.module, partial, state_dict=one)
            policy.tokenizer.save_pretrained(partial)
        except ResourceError:
            raise
        except Exception as error:  # whatever a model's or tokenizer's own code raises
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise CheckpointError(
                f"checkpoints of {policy.config.path} cannot be written to {folder}: {first_line(error)}"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, policy: PackedModel, state: Mapping[str, Any]) -> None:
    with silent_hf():
        _write_weights(folder, policy)
    policy.tokenizer.save_pretrained(folder)
    write_state(folder, state["tensors"])
    scalars = json.dumps(state["scalars"], indent=2, sort_keys=True)
    (folder / SCALARS).write_text(scalars + "\n", encoding="utf-8")


def _write_weights(folder: Path, policy: PackedModel) -> None:
    top = policy.adapter or policy.module
    if not policy.placement.sharded:
        save_model(top, folder)
        return
    weights = {name: tensor.cpu() for name, tensor in stored_weights(policy)}
    shared = {other: weights[n] for other, n in shared_names(top).items() if n in weights}
    save_model(top, folder, state_dict=weights | shared | _buffers(top))


def _buffers(top: nn.Module) -> dict[str, Tensor]:
    """What a state dict holds beside parameters."""
    kept = top.state_dict(keep_vars=True).keys()
    return {name: buffer.cpu() for name, buffer in top.named_buffers() if name in kept}


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
    """What `save_checkpoint` wrote: `tensors` by name, read when they are asked for, and `scalars`.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    return {"tensors": StateFiles(checkpoint), "scalars": load_scalars(checkpoint)}
