"""Streams of raw rows: local files and hub datasets alike."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from medray.config.data import FileConfig
from medray.data.files.data_file import BINARY, DataFile, RawRow
from medray.data.files.find import advice, find_files, format_of, passed_over
from medray.data.files.opening import Digests, encoding_of
from medray.data.files.reading import read_raw
from medray.data.loading.columns import check_columns, renamed_rows
from medray.data.loading.hub import HubRows
from medray.data.loading.llama_factory import INFO, Entry, entry_of, read_info
from medray.data.prepared.manifest import is_prepared
from medray.errors import DataError

_UTF8 = ("utf-8", "utf-8-sig")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class RawRows(Protocol):
    """Rows that share a schema, readable again from the start."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def read(self, digests: Digests | None = None) -> Iterator[RawRow]:
        """The rows; `digests` gets the sha256 of what was read once all are."""
        ...


@dataclass(frozen=True, slots=True)
class FileRows:
    """Lazily read rows of one data file, with its columns renamed."""

    file: DataFile
    columns: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    entry: Entry | None = None

    @property
    def name(self) -> str:
        """Path of the file, as it appears in messages."""
        return str(self.file.path)

    def read(self, digests: Digests | None = None) -> Iterator[RawRow]:
        """Read the rows from the start of the file.

        Args:
            digests: gets the SHA-256 of the file once all rows are read.
        """
        rows = read_raw(self.file, digests)
        if self.entry is not None:
            rows = self.entry.rows(rows)
        return renamed_rows(rows, self.columns, self.name)


def open_raw_rows(config: FileConfig) -> list[FileRows] | list[HubRows]:
    """What `config.path` stands for: the file, the files of a folder or pattern, or a dataset on the hub.

    Raises:
        ConfigError: `config.columns` names a field that no schema reads.
        DataError: nothing is there.
    """
    check_columns(config)
    if is_hub_id(config.path):
        return [HubRows.of(config)]
    if (listed := _listed_rows(config)) is not None:
        return listed
    if config.subset is not None or config.revision is not None:
        raise DataError(
            f"data.path={config.path} is local: data.subset and data.revision are for hub datasets"
        )
    if is_prepared(config.path):
        raise DataError(
            f"{config.path} contains prepared tokens, which only pt, sft, rm, prm, dpo, orpo and kto jobs read "
            "(data.path): use the original data here"
        )
    return [FileRows(file, config.columns) for file in find_files(config)]


def _listed_rows(config: FileConfig) -> list[FileRows] | None:
    """What a `dataset_info.json` of LLaMA-Factory lists: one dataset, or the files of its folder; None without one."""
    path = Path(config.path or "")
    folder = path if path.is_dir() else path.parent
    if not (entries := read_info(folder / INFO)):
        return None
    if path.name == INFO or config.subset is not None:
        entry = entry_of(entries, config.subset, folder / INFO)
        changes = {"path": str(folder / entry.file_name), "subset": None}
        files = find_files(config.model_copy(update=changes))
        return [FileRows(file, config.columns, entry) for file in files]
    by_path = {folder / entry.file_name: entry for entry in entries.values() if entry.file_name}
    return [FileRows(file, config.columns, by_path.get(file.path)) for file in find_files(config)]


def notes_of(config: FileConfig, several: Sequence[RawRows]) -> tuple[str, ...]:
    """What a person should know of how files are read: encodings beside UTF-8, and files that are passed over."""
    found: list[str] = []
    by_codec: dict[str, list[str]] = {}
    for raw in several:
        if isinstance(raw, FileRows) and raw.file.format not in BINARY:
            by_codec.setdefault(encoding_of(raw.file), []).append(raw.name)
    for codec, names in by_codec.items():
        if codec not in _UTF8:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            found.append(f"{names[0]}{more} read as {codec}")
    if left := passed_over(config):
        shown = ", ".join(path.name for path in left[:3])
        found.append(
            f"{len(left)} files of no format that is read are passed over ({shown}): {advice(left[0])}"
        )
    return tuple(found)


def is_hub_id(path: str | None) -> bool:
    """True for `owner/name` when there is no such file or folder here."""
    if path is None or not _HUB_ID.fullmatch(path):
        return False
    return format_of(Path(path)) is None and not Path(path).exists()
