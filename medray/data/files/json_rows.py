"""JSON as a list of objects, or as an object that holds rows: by split, under `data`, or by their ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests, open_text
from medray.data.files.repeats import RepeatedKey, unique_keys
from medray.data.files.splits import Split, split_of
from medray.data.parsing.fields import kind_of
from medray.data.parsing.roles import MEANING, by_role, role_of
from medray.data.source import RowError
from medray.errors import DataError

_CHUNK_CHARS = 1 << 18
_BLANK = " \t\r\n"
CONTAINERS = ("data", "rows", "examples", "items", "instances", "records", "dataset", "samples")
"""Keys under which files keep their rows, beside the names of splits."""
_CONTAINER = re.compile(
    r'\{\s*(?:"[^"]*"\s*:\s*(?:"(?:[^"\\]|\\.)*"|[\d.]+|null|true|false)\s*,\s*)*"([^"]+)"\s*:\s*\[\s*\{'
)


def holds_rows(value: Any) -> bool:
    """True for an object that is no row but holds some."""
    if not isinstance(value, dict) or by_role(value).keys() & MEANING.keys():
        return False
    lists = [key for key, item in value.items() if is_container(key) and _is_rows(item)]
    keyed = value and all(isinstance(item, dict) for item in value.values()) and len(value) > 1
    return bool(lists) or bool(
        keyed and any(by_role(item).keys() & MEANING.keys() for item in value.values())
    )


def begins_with_rows(head: str) -> bool:
    """True for the beginning of such an object, where its end is not at hand."""
    match = _CONTAINER.match(head)
    return match is not None and is_container(match[1])


def is_container(key: str) -> bool:
    """True for a key that rows are kept under."""
    return key.lower() in CONTAINERS or split_of(key) is not None


def _is_rows(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) for item in value[:3])
    )


def read_json_rows(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The rows of `file`, in constant memory. Of an object, those of all its lists; a list named `test` is held out.

    Raises:
        DataError: the text is not JSON from some line on (what follows cannot be told apart), or holds no rows.
    """
    with open_text(file, digests) as stream:
        scanner = _Scanner(stream, file)
        if scanner.at("{"):
            yield from _object(scanner, file)
        else:
            yield from _list(scanner, file, None)
        scanner.finish()


def _list(scanner: _Scanner, file: DataFile, split: Split | None) -> Iterator[RawRow]:
    scanner.expect("[")
    while not scanner.at("]"):
        line, value = scanner.value()
        yield raw_row(file, line, _row(value), split)
        if not scanner.at("]"):
            scanner.expect(",")
    scanner.expect("]")


def _row(value: Any) -> dict[str, Any] | RowError:
    if isinstance(value, RowError | dict):
        return value
    return RowError("not an object", f"the item is {kind_of(value)}; write a list of objects")


def _object(scanner: _Scanner, file: DataFile) -> Iterator[RawRow]:
    scanner.expect("{")
    num_rows = 0
    while not scanner.at("}"):
        line, key = scanner.value()
        scanner.expect(":")
        if scanner.at("[") and isinstance(key, str) and is_container(key):
            for row in _list(scanner, file, split_of(key)):
                num_rows += 1
                yield row
        else:
            _, value = scanner.value()
            if isinstance(value, Mapping) and role_of(str(key)) is None:
                num_rows += 1
                yield raw_row(file, line, {"id": key, **value})
        if not scanner.at("}"):
            scanner.expect(",")
    scanner.expect("}")
    if not num_rows:
        raise DataError(
            f"{file.place}: the top level is an object without rows: write a list of objects, one object per line, or"
            ' {"train": [...], "test": [...]}'
        )


class _Scanner:
    """A window of text that grows until the next value is whole, with the line it stands on."""

    def __init__(self, stream: TextIO, file: DataFile) -> None:
        self._stream = stream
        self._file = file
        self._decoder = json.JSONDecoder(object_pairs_hook=unique_keys)
        self._plain = json.JSONDecoder()
        self._text = ""
        self._position = 0
        self._line = 1
        self._at_end = False

    def at(self, char: str) -> bool:
        """True when the next character that is not blank is `char`."""
        return self._next() == char

    def expect(self, char: str) -> None:
        """Go past `char`, which must come next."""
        found = self._next()
        if found != char:
            wanted = "a list" if char == "[" else f"{char!r}"
            raise self._error(f"expected {wanted}, found {found or 'the end of the file'!r}")
        self._position += 1

    def value(self) -> tuple[int, Any]:
        """The next value and the line it begins on."""
        self._next()
        chunk = _CHUNK_CHARS
        while True:
            try:
                value, end = self._decode()
            except json.JSONDecodeError as error:
                if self._at_end or self._is_final(error):
                    line = self._line + self._text.count("\n", self._position, error.pos)
                    raise self._error(error.msg, line) from None
            except RecursionError:
                raise self._error("too deeply nested") from None
            else:
                if end < len(self._text) or self._at_end:
                    line = self._line
                    self._advance(end)
                    return line, value
            self._read(chunk)
            chunk *= 2  # so that a long value is scanned a few times only

    def _decode(self) -> tuple[Any, int]:
        try:
            return self._decoder.raw_decode(self._text, self._position)
        except RepeatedKey as repeated:
            _, end = self._plain.raw_decode(self._text, self._position)
            return repeated.as_row_error(), end

    def finish(self) -> None:
        """Check that nothing follows."""
        if found := self._next():
            raise self._error(f"{found!r} after the end of the list")

    def _is_final(self, error: json.JSONDecodeError) -> bool:
        """True when more text would not mend the error."""
        return not error.msg.startswith("Unterminated") and error.pos < len(self._text) - 16

    def _next(self) -> str:
        while True:
            position = self._position
            while position < len(self._text) and self._text[position] in _BLANK:
                position += 1
            self._advance(position)
            if position < len(self._text) or self._at_end:
                return self._text[position : position + 1]
            self._read(_CHUNK_CHARS)

    def _advance(self, position: int) -> None:
        self._line += self._text.count("\n", self._position, position)
        self._position = position

    def _read(self, num_chars: int) -> None:
        more = self._stream.read(num_chars)
        self._at_end = not more
        self._text = self._text[self._position :] + more
        self._position = 0

    def _error(self, message: str, line: int | None = None) -> DataError:
        where = f"{self._file.place}:{line or self._line}"
        return DataError(f"{where}: bad JSON: {message}; correct it: nothing after it can be read")
