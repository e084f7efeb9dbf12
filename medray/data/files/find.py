"""Which files a path stands for: one file, a folder with everything below it, or a glob pattern."""

from __future__ import annotations

import glob
import itertools
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medray.config.data import FileConfig
from medray.data.files.data_file import BINARY, FORMATS, DataFile, Format
from medray.data.files.splits import HELD_OUT, split_of
from medray.data.files.unpacking import PACKED_SUFFIXES
from medray.data.prepared.manifest import is_prepared
from medray.errors import DataError

_NO_ROWS = (
    "dataset_dict.json",
    "dataset_info.json",
    "dataset_infos.json",
    "split.json",
    "state.json",
    "test_ground_truth.json",
)
"""Files that accompany datasets and hold no rows."""
_GLOB = "*?["
_BESIDE = re.compile(
    r"(readme|licen[cs]e|notice|citation|changelog|makefile)\b.*|.*\.(md|rst|py|sh|ipynb|lock|ya?ml|toml|log|png|jpe?g|gif|svg)|"
    r"cache-.*\.arrow|.*\.(sha256|md5)",
    re.IGNORECASE,
)
"""Files that nobody takes for rows."""
_ADVICE = {
    ".docx": "save its text as .txt", ".doc": "save its text as .txt", ".pdf": "extract its text into .txt",
    ".html": "extract its text into .txt", ".htm": "extract its text into .txt", ".rtf": "save its text as .txt",
    ".xls": "save it as .xlsx or .csv", ".ods": "save it as .xlsx or .csv",
    ".tar": "unpack it", ".tgz": "unpack it", ".rar": "unpack it", ".7z": "unpack it",
    ".pkl": "write it as .parquet (pandas: read_pickle, to_parquet): unpickling a file runs its code",
    ".pickle": "write it as .parquet (pandas: read_pickle, to_parquet): unpickling a file runs its code",
    ".pt": "it holds tensors, not rows", ".bin": "it holds tensors, not rows",
    ".safetensors": "it holds tensors, not rows",
    ".db": "export its table as .csv", ".sqlite": "export its table as .csv", ".xml": "convert it to .jsonl",
    ".orc": "write it as .parquet", ".avro": "write it as .parquet",
}  # fmt: skip
"""What to do with a file of a format that is not read."""


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
            f"data.path={path} is a prepared folder with tokens, not rows: only a job of the stage it was"
            " prepared for reads it"
        )
    if path.is_dir():
        found = [_data_files(p, p.relative_to(path).as_posix(), config) for p in _below(path)]
        return _with_splits(list(itertools.chain.from_iterable(found)))
    if path.exists():
        return _data_files(path, path.name, config)
    if any(c in config.path for c in _GLOB):
        return _matching(str(path), config)
    raise DataError(f"data.path={path} does not exist: check it and the working directory")


def passed_over(config: FileConfig) -> list[Path]:
    """Files in the folder `config.path` that look like data and are not read, for their suffix says no format."""
    path = Path(config.path or "").expanduser()
    if config.path is None or not path.is_dir():
        return []
    return [
        p
        for p in _walk(path)
        if not has_rows(p) and p.name not in _NO_ROWS and not _BESIDE.fullmatch(p.name)
    ]


def advice(path: Path) -> str:
    """What to do with a file that cannot be read."""
    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith((".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        return "unpack it"
    default = f"give it the suffix of what it holds: one of {', '.join(FORMATS)}"
    return _ADVICE.get(path.suffix.lower(), default)


def has_rows(path: Path) -> bool:
    """True for a file whose suffix says that it holds rows."""
    is_cache = path.name.startswith("cache-") and path.suffix == ".arrow"
    is_known = format_of(path) is not None or path.suffix.lower() == ".zip"
    return is_known and path.name not in _NO_ROWS and not is_cache


def format_of(path: Path) -> Format | None:
    """The format that the suffix names, looking under .gz and the like; None for others."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in PACKED_SUFFIXES:
        inner = FORMATS.get(suffixes[-2]) if len(suffixes) > 1 else None
        return None if inner in BINARY else inner
    return FORMATS.get(suffixes[-1]) if suffixes else None


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _below(folder: Path) -> list[Path]:
    found = [p for p in _walk(folder) if has_rows(p)]
    if not found:
        raise DataError(
            f"data.path={folder} is a folder without data files: put {', '.join(FORMATS)} files"
            " into it, or set another path"
        )
    return found


def _matching(pattern: str, config: FileConfig) -> list[DataFile]:
    paths = [p for p in map(Path, sorted(glob.glob(pattern, recursive=True))) if p.is_file()]
    files = [p for p in paths if has_rows(p)]
    if not files:
        raise DataError(f"data.path={pattern} matches no data file: check the pattern")
    common = Path(os.path.commonpath([p.parent for p in files]))
    found = [_data_files(p, p.relative_to(common).as_posix(), config) for p in files]
    return _with_splits(list(itertools.chain.from_iterable(found)))


def _with_splits(files: list[DataFile]) -> list[DataFile]:
    """The files with the sides that their names say, those held out first; unchanged where they say but one side.

    What is held out comes first, so that a stream knows it before it sees training rows of the same group.
    """
    sides = [split_of(file.name) for file in files]
    if "train" not in sides or not set(sides) & set(HELD_OUT):
        return files
    marked = [replace(file, split=side) for file, side in zip(files, sides, strict=True)]
    return sorted(marked, key=lambda file: file.split not in HELD_OUT)


def _data_files(path: Path, name: str, config: FileConfig) -> list[DataFile]:
    """A file as it is read, or those inside a zip archive."""
    if path.suffix.lower() != ".zip":
        return [_data_file(path, name, config)]
    try:
        with zipfile.ZipFile(path) as archive:
            members = [i.filename for i in archive.infolist() if not i.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not readable as zip ({error}): pack it again") from None
    inside = [m for m in sorted(members) if has_rows(Path(m)) and not Path(m).name.startswith(".")]
    files = [_data_file(path, f"{name}/{m}", config, member=m) for m in inside]
    files = [file for file in files if file.format not in BINARY and "__MACOSX" not in file.name]
    if not files:
        raise DataError(
            f"{path}: the archive contains no data file: unpack it, and set data.path to a file in it"
        )
    return _with_splits(files)


def _data_file(path: Path, name: str, config: FileConfig, member: str = "") -> DataFile:
    form = format_of(Path(member) if member else path)
    if form is None:
        raise DataError(f"data.path={path} has an unsupported format: {advice(path)}")
    is_headless = any((column or "").startswith("#") for column in config.columns.values())
    return DataFile(
        path, name, form, config.encoding, config.documents, member=member, is_headless=is_headless
    )
