"""LLaMA-Factory's `dataset_info.json`: which columns of which file hold what.

The rows come out as LLaMA-Factory reads them: as `instruction`, `input`, `output` or `conversations`, with `chosen` and
`rejected` or `kto_tag`. Columns that an entry does not name are not read, as there.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medray.data.files.data_file import RawRow
from medray.data.source import RowError
from medray.errors import DataError

INFO = "dataset_info.json"
_PLACES = ("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_ALIKE = (
    "history",
    "system",
    "tools",
    "images",
    "videos",
    "audios",
    "chosen",
    "rejected",
    "kto_tag",
)
_SPEAKERS = {
    "user_tag": "human", "assistant_tag": "gpt", "observation_tag": "observation", "function_tag": "function_call",
    "system_tag": "system",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One dataset of the file: where it is, and how its rows are laid out."""

    file_name: str = ""
    num_samples: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    is_sharegpt: bool = False
    is_ranked: bool = False

    def rows(self, raw_rows: Iterator[RawRow]) -> Iterator[RawRow]:
        """The rows under the names of medray's schemas."""
        for row in itertools.islice(raw_rows, self.num_samples):
            if isinstance(row.fields, RowError):
                yield row
            else:
                yield replace(row, fields=self._fields(row.fields))

    def _fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        names = {name: name for name in _ALIKE if name in self.columns}
        names |= {"messages": "conversations"} if self.is_sharegpt else _ALPACA
        found: dict[str, Any] = {}
        for role, name in names.items():
            value = fields.get(self.columns.get(role, name))
            if value is not None:
                found[name] = value
        if self.is_sharegpt:
            for name in ("conversations", "chosen", "rejected"):
                if name in found:
                    found[name] = self._turns(found[name])
        output = found.pop("output", None) if self.is_ranked else None
        if isinstance(output, list) and len(output) == 2:
            found |= {"chosen": output[0], "rejected": output[1]}
        return found

    def _turns(self, value: Any) -> Any:
        """Turns with their tags as ShareGPT has them."""
        if isinstance(value, list):
            return [self._turns(turn) for turn in value]
        if not isinstance(value, dict):
            return value
        role_tag = self.tags.get("role_tag", "from")
        content_tag = self.tags.get("content_tag", "value")
        speakers = {self.tags.get(tag, own): own for tag, own in _SPEAKERS.items()}
        kept = {key: item for key, item in value.items() if key not in (role_tag, content_tag)}
        role = value.get(role_tag)
        return {**kept, "from": speakers.get(str(role), role), "value": value.get(content_tag)}


def read_info(path: Path) -> dict[str, Entry]:
    """The entries of a `dataset_info.json`; {} for a file of that name of another kind, as `datasets` writes it.

    Raises:
        DataError: it is not JSON.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}): correct it") from None
    if not isinstance(loaded, dict):
        return {}
    entries = {
        name: value
        for name, value in loaded.items()
        if isinstance(value, dict) and any(place in value for place in _PLACES)
    }
    return {name: _entry(value) for name, value in entries.items()}


def entry_of(entries: Mapping[str, Entry], name: str | None, path: Path) -> Entry:
    """The entry called `name`, or the only one.

    Raises:
        DataError: there is none of that name, or there are several and none is named.
    """
    if name is None and len(entries) == 1:
        return next(iter(entries.values()))
    if name is None or name not in entries:
        raise DataError(f"{path}: set data.subset to one of {', '.join(entries)}")
    entry = entries[name]
    if not entry.file_name:
        raise DataError(
            f"{path}: {name!r} names no local file: download it, and set data.path to it with data.columns"
        )
    return entry


def _entry(value: dict[str, Any]) -> Entry:
    columns, tags = value.get("columns") or {}, value.get("tags") or {}
    return Entry(
        file_name=str(value.get("file_name") or ""),
        num_samples=value.get("num_samples"),
        columns={str(k): str(v) for k, v in columns.items()},
        tags={str(k): str(v) for k, v in tags.items()},
        is_sharegpt=value.get("formatting", "alpaca") == "sharegpt",
        is_ranked=bool(value.get("ranking")),
    )
