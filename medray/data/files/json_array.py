"""A JSON list of objects, read one object at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from medray.data.files.data_file import DataFile, RawRow, raw_row
from medray.data.files.opening import Digests, open_text
from medray.data.parsing.fields import kind_of
from medray.data.source import RowError
from medray.errors import DataError

_CHUNK_CHARS = 1 << 18
_BLANK = " \t\r\n"


def read_json_array(file: DataFile, digests: Digests | None = None) -> Iterator[RawRow]:
    """The objects of the list that `file` is, in constant memory.

    Raises:
        DataError: the text is not JSON from some line on; what follows cannot be told apart.
    """
    with open_text(file, digests) as stream:
        scanner = _Scanner(stream, file)
        scanner.expect("[")
        while not scanner.at("]"):
            line, value = scanner.value()
            fault = RowError(
                "not an object", f"the item is {kind_of(value)}; write a list of objects"
            )
            yield raw_row(file, line, value if isinstance(value, dict) else fault)
            if not scanner.at("]"):
                scanner.expect(",")
        scanner.expect("]")
        scanner.finish()


class _Scanner:
    """A window of text that grows until the next value is whole, with the line it stands on."""

    def __init__(self, stream: TextIO, file: DataFile) -> None:
        self._stream = stream
        self._file = file
        self._decoder = json.JSONDecoder()
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
            raise self._error(f"{wanted} is expected, not {found or 'the end of the file'!r}")
        self._position += 1

    def value(self) -> tuple[int, Any]:
        """The next value and the line it begins on."""
        self._next()
        chunk = _CHUNK_CHARS
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._position)
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
        where = f"{self._file.path}:{line or self._line}"
        return DataError(f"{where}: bad JSON: {message}; correct it: nothing after it can be read")
