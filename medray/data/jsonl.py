"""JSON Lines with every problem tied to its line, and checked access to the fields of a row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medray.config.data import DataConfig
from medray.data.source import BadRow, Row, RowError, Source
from medray.errors import DataError
from medray.types import Record

ParseRow = Callable[[dict[str, Any], str], Record]
_UTF8_BOM = b"\xef\xbb\xbf"


def read_jsonl(config: DataConfig, parse: ParseRow) -> Source:
    """Open `config.path` as JSON Lines; `parse(row, where)` turns each object into a record.

    `where` is `name:line` with the file's base name, so that it can serve as a record id on any
    machine.
    """
    path = data_path(config)
    content = read_bytes(path)
    return Source(
        name=str(path),
        rows=_rows(content, path, parse),
        digests={path.name: hashlib.sha256(content).hexdigest()},
    )


def data_path(config: DataConfig) -> Path:
    """The file named by `data.path`.

    Raises:
        DataError: it is not set, does not exist, or is a folder.
    """
    if config.path is None:
        raise DataError(f"data.kind={config.kind} reads a file: set data.path")
    path = Path(config.path)
    if path.is_dir():
        raise DataError(f"data.path={path} is a folder: name the file in it")
    if not path.exists():
        raise DataError(f"data.path={path} does not exist: check it and the working directory")
    return path


def read_bytes(path: Path) -> bytes:
    """The whole file as it is.

    Raises:
        DataError: it cannot be read or has nothing in it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not content.removeprefix(_UTF8_BOM).strip():
        raise DataError(f"{path} is empty: point data.path at a file with rows")
    return content


def decode_utf8(content: bytes) -> str:
    """Text without the byte order mark that some editors put first; raises `UnicodeDecodeError`."""
    return content.removeprefix(_UTF8_BOM).decode("utf-8")


def _rows(content: bytes, path: Path, parse: ParseRow) -> Iterator[Row | BadRow]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield Row(where, parse(_object(line), f"{path.name}:{number}"))
        except RowError as error:
            yield BadRow(where, error.reason, error.detail)


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(decode_utf8(line))
    except UnicodeDecodeError as error:
        raise RowError(
            "invalid UTF-8",
            f"byte {error.start} of the line is 0x{line[error.start]:02x};"
            " re-save the file as UTF-8",
        ) from None
    except json.JSONDecodeError as error:
        raise RowError(
            "bad JSON", f"{error.msg} at column {error.colno}; write one JSON object a line"
        ) from None
    except (ValueError, RecursionError) as error:
        raise RowError("bad JSON", f"{error}; write one JSON object a line") from None
    if not isinstance(row, dict):
        kind = _kind(row)
        raise RowError("not an object", f"the line is {kind}; write one JSON object a line")
    return row


def require(row: dict[str, Any], key: str) -> Any:
    """`row[key]`; a `RowError` names the key and shows those the row has."""
    if key not in row:
        present = ", ".join(map(repr, row)) or "none"
        raise RowError("missing key", f"no {key!r}; add it or rename one (the row has {present})")
    return row[key]


def require_text(row: dict[str, Any], key: str) -> str:
    """`row[key]` as stripped, non-empty, encodable text."""
    return check_text(require(row, key), key)


def optional_text(row: dict[str, Any], key: str) -> str | None:
    """`row[key]` as text, a whole number taken as its digits; None when absent or null."""
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return check_text(value, key)


def check_text(value: Any, name: str) -> str:
    """`value`, stripped, when it is text that can be written as UTF-8 and is not blank."""
    if not isinstance(value, str):
        raise RowError("wrong type", f"{name!r} is {_kind(value)}; write text in quotes")
    stripped = value.strip()
    if not stripped:
        raise RowError("empty value", f"{name!r} is blank; fill it in or remove the row")
    try:
        stripped.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(
            "invalid Unicode", f"{name!r} holds half a surrogate pair; re-export the text"
        ) from None
    return stripped


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "text", bool: "true/false"}
    return names.get(type(value), "a number")
