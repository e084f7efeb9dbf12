"""JSON Lines: one object a line; a bad line costs only itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.encoding import UTF8_BOM
from medray.data.files.opening import Digests, encoding_of, open_binary, open_text
from medray.data.files.repeats import RepeatedKey, unique_keys
from medray.data.parsing.fields import kind_of
from medray.data.source import RowError


def read_jsonl(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The objects of `file`, blank lines passed over."""
    encoding = encoding_of(file)
    if encoding.startswith(("utf-16", "utf-32")):  # whose line ends are more than one byte
        with open_text(file, digests) as text:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield raw_row(file, number, parse_line(line.encode(errors="replace")))
        return
    with open_binary(file, digests) as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                line = line.removeprefix(UTF8_BOM)
            if line.strip():
                yield raw_row(file, number, parse_line(line, encoding))


def parse_line(line: bytes, encoding: str = "utf-8-sig") -> dict[str, Any] | RowError:
    """One line as an object, or what is wrong with it."""
    line = line.rstrip(b"\r\n")
    try:
        row = json.loads(line.decode(encoding), object_pairs_hook=unique_keys)
    except RepeatedKey as repeated:
        return repeated.as_row_error()
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8-sig" else encoding.upper()
        return RowError(
            f"invalid {name}",
            f"byte {error.start} of the line is 0x{line[error.start]:02x};"
            " re-save the file as UTF-8, or set data.encoding",
        )
    except json.JSONDecodeError as error:
        return RowError(
            "bad JSON", f"{error.msg} at column {error.colno}; write one JSON object a line"
        )
    except (ValueError, RecursionError) as error:
        return RowError("bad JSON", f"{error}; write one JSON object a line")
    if not isinstance(row, dict):
        return RowError(
            "not an object", f"the line is {kind_of(row)}; write one JSON object a line"
        )
    return row
