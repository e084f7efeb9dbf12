"""Which files a path stands for: one file, a folder with everything below it, or a glob pattern."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from medray.config.data import FileConfig
from medray.data.files.data_file import FORMATS, DataFile, Format
from medray.data.prepared.manifest import is_prepared
from medray.errors import DataError

_NO_ROWS = (
    "dataset_info.json",
    "dataset_infos.json",
    "split.json",
    "state.json",
    "test_ground_truth.json",
)
"""Files that accompany datasets and hold no rows."""
_GLOB = "*?["


def find_files(config: FileConfig) -> list[DataFile]:
    """The files of `config.path`, in the order of their names.

    In a folder, hidden files and folders are passed over, and so are suffixes that hold no rows.

    Raises:
        DataError: the path does not exist, matches nothing, or holds no file of rows.
    """
    if config.path is None:
        raise DataError(f"data.kind={config.kind} reads a file: set data.path")
    path = Path(config.path).expanduser()
    if is_prepared(path):
        raise DataError(
            f"data.path={path} is a prepared folder, of tokens and not of rows: only a job of the stage it was"
            " prepared for reads it"
        )
    if path.is_dir():
        return [_data_file(p, p.relative_to(path).as_posix(), config) for p in _below(path)]
    if path.exists():
        return [_data_file(path, path.name, config)]
    if any(c in config.path for c in _GLOB):
        return _matching(str(path), config)
    raise DataError(f"data.path={path} does not exist: check it and the working directory")


def has_rows(path: Path) -> bool:
    """True for a file whose suffix says that it holds rows."""
    return format_of(path) is not None and path.name not in _NO_ROWS


def format_of(path: Path) -> Format | None:
    """The format that the suffix names, looking under .gz; None for others."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        inner = FORMATS.get(suffixes[-2]) if len(suffixes) > 1 else None
        return None if inner == "parquet" else inner
    return FORMATS.get(suffixes[-1]) if suffixes else None


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        paths = (Path(parent, name) for name in sorted(names) if not name.startswith("."))
        found += [p for p in paths if has_rows(p)]
    if not found:
        raise DataError(
            f"data.path={folder} is a folder without files of rows: put {', '.join(FORMATS)} files"
            " into it, or name another"
        )
    return found


def _matching(pattern: str, config: FileConfig) -> list[DataFile]:
    paths = [p for p in map(Path, sorted(glob.glob(pattern, recursive=True))) if p.is_file()]
    files = [p for p in paths if has_rows(p)]
    if not files:
        raise DataError(f"data.path={pattern} matches no file of rows: check the pattern")
    common = Path(os.path.commonpath([p.parent for p in files]))
    return [_data_file(p, p.relative_to(common).as_posix(), config) for p in files]


def _data_file(path: Path, name: str, config: FileConfig) -> DataFile:
    form = format_of(path)
    if form is None:
        raise DataError(
            f"data.path={path}: the suffix says nothing of its format: rename it to one of"
            f" {', '.join(FORMATS)} (or .gz of them)"
        )
    return DataFile(path, name, form, config.encoding, config.documents)
