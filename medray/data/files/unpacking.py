"""Packed bytes as plain ones: gzip, bzip2, xz and Zstandard, told by how a file begins."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from medray.errors import first_line

PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
"""What reading damaged packed data raises, beside OSError."""
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGIC: dict[bytes, Callable[[io.BufferedReader[Any]], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": lambda stream: bz2.BZ2File(stream),
    b"\xfd7zXZ\x00": lambda stream: lzma.LZMAFile(stream),  # noqa: SIM115
}


def unpacked(stream: io.BufferedReader[Any]) -> BinaryIO:
    """`stream` unpacked; as it is when it is not packed."""
    head = stream.peek(6)[:6]
    for magic, opened in _MAGIC.items():
        if head.startswith(magic):
            return cast(BinaryIO, opened(stream))
    if head.startswith(_ZSTD):
        return cast(BinaryIO, io.BufferedReader(_ZstdReader(stream), 1 << 20))
    return cast(BinaryIO, stream)


class _ZstdReader(io.RawIOBase):
    """Zstandard through Arrow, which brings it; frame after frame, as parallel packers write them."""

    def __init__(self, stream: io.BufferedReader[Any]) -> None:
        super().__init__()
        import pyarrow as pa

        self._inner = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            found = self._inner.read(len(buffer))
        except OSError as error:
            raise EOFError(first_line(error)) from None
        buffer[: len(found)] = found
        return len(found)
