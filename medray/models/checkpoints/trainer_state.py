"""The trainer's tensors beside a checkpoint's weights: files of bounded size, read one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from medray.errors import CheckpointError
from medray.system.units import GIB

STATE = "trainer_state.tensors"
"""In the format of safetensors; vLLM takes every file of a folder that is called so for weights."""
FILE_BYTES = 4 * GIB


class StateFiles(Mapping[str, Tensor]):
    """Tensors by name; each is read when it is asked for, so a rank need not hold the others' share."""

    def __init__(self, checkpoint: Path) -> None:
        """Open the files.

        Raises:
            CheckpointError: one is missing or damaged.
        """
        self._files: dict[str, Any] = {}
        try:
            for path in [checkpoint / STATE, *sorted(checkpoint.glob(_numbered("*")))]:
                file = safe_open(path, framework="pt")
                self._files |= dict.fromkeys(file.keys(), file)
        except Exception as error:
            raise CheckpointError(
                f"{checkpoint}: {STATE} cannot be read ({error}): remove the folder to resume from an older checkpoint"
            ) from None

    def __getitem__(self, name: str) -> Tensor:
        return self._files[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def write_state(
    folder: Path, tensors: Iterable[tuple[str, Tensor]], *, file_bytes: int = FILE_BYTES
) -> None:
    """Write `tensors` to `folder`, holding about `file_bytes` of them at a time."""
    held: dict[str, Tensor] = {}
    size = number = 0
    for name, tensor in tensors:
        held[name] = tensor.detach().cpu().contiguous()
        size += tensor.numel() * tensor.element_size()
        if size >= file_bytes:
            save_file(held, folder / (_numbered(f"{number:05d}") if number else STATE))
            held, size, number = {}, 0, number + 1
    if held or not number:
        save_file(held, folder / (_numbered(f"{number:05d}") if number else STATE))


def _numbered(number: str) -> str:
    return f"trainer_state-{number}.tensors"
