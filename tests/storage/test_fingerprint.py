"""Fingerprints tell contents apart, not paths."""

from __future__ import annotations

import shutil
from pathlib import Path

from medray.storage.fingerprint import WHOLE_BYTES, fingerprint


def test_the_same_content_elsewhere_is_the_same_model(tiny_model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    assert fingerprint(copy) == fingerprint(tiny_model)

    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert fingerprint(copy) != fingerprint(tiny_model)


def test_large_files_are_told_apart_by_their_blocks_and_sizes(tmp_path: Path) -> None:
    size = WHOLE_BYTES + 4097
    files = {"a": b"\0" * size, "b": b"\0" * (size - 1), "c": b"\0" * (size - 1) + b"\1"}
    prints = set()
    for name, content in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
        prints.add(fingerprint(tmp_path / name))
    assert len(prints) == 3
