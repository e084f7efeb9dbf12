"""Plain text cut into documents."""

from __future__ import annotations

import re
from collections.abc import Iterator

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests, open_text, sample

_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")


def read_text(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The documents of `file` as rows of one field, `text`, each at its first line."""
    documents = file.documents
    if documents == "auto":
        documents = "paragraph" if _BLANK_LINE.search(sample(file)) else "line"
    with open_text(file, digests) as stream:
        held: list[str] = []
        start = 1
        for number, line in enumerate(stream, start=1):
            line = line.rstrip("\r\n")
            ends = not line.strip() and documents != "file"
            if held and (ends or documents == "line"):
                yield _document(file, start, held)
                held = []
            if ends or (not held and not line.strip()):
                continue
            if not held:
                start = number
            held.append(line)
        if held:
            yield _document(file, start, held)


def _document(file: DataFile, line: int, lines: list[str]) -> RawRow:
    return raw_row(file, line, {"text": "\n".join(lines).strip("\n")})
