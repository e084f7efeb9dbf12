"""`medray_model.json`: where a fetched model came from, and a digest of each of its files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from medray.errors import ModelError

MANIFEST_NAME = "medray_model.json"


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hex; reads it in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, provenance: Mapping[str, object]) -> None:
    """Describe every file in `folder`. Written last, so a manifest means that the rest is there."""
    files = {}
    for path in sorted(folder.iterdir()):
        path.chmod(0o644)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        files[path.name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    with (folder / MANIFEST_NAME).open("w", encoding="utf-8") as stream:
        json.dump({**provenance, "files": files}, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_manifest(folder: Path) -> dict[str, object]:
    """The manifest of a fetched model.

    Raises:
        ModelError: it is missing or not readable.
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest["files"], dict):
            raise TypeError
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: {folder} is not a completely fetched model") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{path} is damaged") from None
    return manifest


def check_files(folder: Path, *, rehash: bool = False) -> None:
    """Compare the files of `folder` with its manifest: sizes always, digests with `rehash`.

    Raises:
        ModelError: names the first file that is missing or differs.
    """
    files = read_manifest(folder)["files"]
    assert isinstance(files, dict)
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path} is missing")
        if path.stat().st_size != expected["bytes"]:
            size = path.stat().st_size
            raise ModelError(f"{path} is damaged: {size} bytes instead of {expected['bytes']}")
        if rehash and file_sha256(path) != expected["sha256"]:
            raise ModelError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST_NAME}")
