"""Files and folders that are either whole or absent.

Everything is written beside its final place, flushed to the disk and then renamed, so a reader, a
kill or a power cut never meets half a file. A full disk becomes one line that names the path and
the bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from medray.errors import ResourceError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all; missing parent folders are made.

    Raises:
        ResourceError: the disk is full or the quota is used up.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all; missing parent folders are made.

    Raises:
        ResourceError: the disk is full or the quota is used up.
    """
    with atomic_file(path, needed_bytes=len(content)) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def atomic_file(path: str | Path, *, needed_bytes: int | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, sync and rename it.

    The block must create and close the temporary file. When the block fails, `path` is left as it
    was.

    Raises:
        ResourceError: the disk is full or the quota is used up.
    """
    final = Path(path)
    temporary = temporary_beside(final)
    with explain_full_disk(final, needed_bytes=needed_bytes):
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)  # else a power cut may leave the new name with old or no bytes
            os.replace(temporary, final)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(final.parent)  # the rename is on the disk once its folder is


def replace_dir(temporary: str | Path, final: str | Path) -> None:
    """Sync every file under `temporary` and rename it to `final`, in place of an older one.

    Both must be on one file system. Where `final` exists it is renamed aside first and deleted
    last: a kill between the two renames leaves it under a hidden name, never a mixture of both.

    Raises:
        ResourceError: the disk is full or the quota is used up.
    """
    temporary, final = Path(temporary), Path(final)
    with explain_full_disk(final):
        for folder, _, names in os.walk(temporary):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
        final.parent.mkdir(parents=True, exist_ok=True)
        aside = temporary_beside(final) if final.exists() else None
        if aside is not None:
            os.rename(final, aside)
        try:
            os.rename(temporary, final)
        except OSError:
            if aside is not None:
                os.rename(aside, final)
            raise
        _sync(final.parent)
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def temporary_beside(path: str | Path) -> Path:
    """A fresh hidden name in the folder of `path`, so that renames stay on one file system."""
    path = Path(path)
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def explain_full_disk(path: str | Path, *, needed_bytes: int | None = None) -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" inside the block into one line about `path`.

    Raises:
        ResourceError: in place of an OSError with ENOSPC or EDQUOT; other errors pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        why = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up"
        needed = f", {_size(needed_bytes)} needed" if needed_bytes is not None else ""
        room = needed + _free(Path(path))
        raise ResourceError(
            f"cannot write {path}: {why}{room}; free some space or choose another folder"
        ) from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free(path: Path) -> str:
    for folder in path.absolute().parents:
        if folder.exists():
            return f", {_size(shutil.disk_usage(folder).free)} free on {folder}"
    return ""


def _size(num_bytes: int) -> str:
    size = float(num_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
