"""Files opened as bytes or text, unpacked and hashed while they are read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Iterator, MutableMapping
from typing import BinaryIO, TextIO, cast

from medray.data.files.data_file import DataFile
from medray.data.files.encoding import detect_encoding
from medray.data.files.unpacking import DAMAGED, unpacked
from medray.errors import DataError

SAMPLE_BYTES = 1 << 18
_BUFFER_BYTES = 1 << 20

Digests = MutableMapping[str, str]


@contextlib.contextmanager
def open_binary(file: DataFile, digests: Digests | None = None) -> Iterator[BinaryIO]:
    """Open `file`, unpacked if it is packed.

    When the block ends, `digests` gets the sha256 of the file's bytes; of the part that was read, and
    under a name that says so, when the block stopped early.

    Raises:
        DataError: the file cannot be read, or its packed data are damaged.
    """
    try:
        hashing = _HashingReader(_open_raw(file))
    except OSError as error:
        raise DataError(f"{file.place} cannot be read: {error.strerror}") from error
    except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{file.place}: not readable as zip ({error}): pack it again") from None
    with io.BufferedReader(hashing, _BUFFER_BYTES) as buffered:
        try:
            yield unpacked(buffered)
        except DAMAGED as error:
            raise DataError(f"{file.place}: damaged packed data ({error}): copy it again") from None
        except OSError as error:
            raise DataError(f"{file.place} cannot be read: {error.strerror}") from error
        finally:
            if digests is not None:
                part = "" if hashing.at_end else f" (first {hashing.num_bytes} bytes)"
                digests[file.name + part] = hashing.sha256.hexdigest()


@contextlib.contextmanager
def open_text(file: DataFile, digests: Digests | None = None) -> Iterator[TextIO]:
    """Open `file` as text in its encoding, line ends untouched.

    Bytes that are not text become lone surrogates (`surrogateescape`), so that only their row is bad.
    """
    encoding = encoding_of(file)
    with open_binary(file, digests) as stream:
        text = io.TextIOWrapper(stream, encoding=encoding, errors="surrogateescape", newline="")
        try:
            yield text
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file.place}: not valid {error.encoding} ({error.reason}): re-save the file as UTF-8"
            ) from None
        finally:
            text.detach()


def encoding_of(file: DataFile) -> str:
    """The codec that `file.encoding` asks for, or the one its beginning shows."""
    if file.encoding == "auto":
        return detect_encoding(sample(file), file.place)
    return "utf-8-sig" if file.encoding == "utf-8" else file.encoding


def _open_raw(file: DataFile) -> io.FileIO | zipfile.ZipExtFile:
    if file.member:
        return cast(zipfile.ZipExtFile, zipfile.ZipFile(file.path).open(file.member))
    return open(file.path, "rb", buffering=0)


def sample(file: DataFile) -> bytes:
    """The first bytes of the file, unpacked."""
    with open_binary(file) as stream:
        return stream.read(SAMPLE_BYTES)


class _HashingReader(io.RawIOBase):
    """Reads a raw file and hashes what passes."""

    def __init__(self, raw: io.FileIO | zipfile.ZipExtFile) -> None:
        super().__init__()
        self._raw = raw
        self.sha256 = hashlib.sha256()
        self.num_bytes = 0
        self.at_end = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        count = self._raw.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        self.num_bytes += count
        self.at_end = count == 0
        return count
