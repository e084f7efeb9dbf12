"""What a folder of files holds, as one short string: the identity of a model or an adapter, whatever its path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

WHOLE_BYTES = 16 * 2**20
NUM_BLOCKS = 256
BLOCK_BYTES = 64 * 2**10
SUFFIXES = {".bin", ".gguf", ".jinja", ".json", ".model", ".pt", ".safetensors", ".txt"}


def fingerprint(path: str | Path) -> str:
    """Return a SHA-256 over names, sizes and contents of the model's files in `path`, a folder or a file.

    Of a file above 16 MiB, 256 blocks of 64 KiB at even distances are read, its ends among them: training moves nearly
    every weight, and reading 140 GB before each start would take minutes.

    Raises:
        OSError: a file cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.suffix in SUFFIXES)
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        for block in _blocks(file, size):
            digest.update(block)
    return digest.hexdigest()


def _blocks(file: Path, size: int) -> Iterator[bytes]:
    with file.open("rb") as stream:
        if size <= WHOLE_BYTES:
            yield stream.read()
            return
        for i in range(NUM_BLOCKS):
            stream.seek((size - BLOCK_BYTES) * i // (NUM_BLOCKS - 1))
            yield stream.read(BLOCK_BYTES)
