"""One process at a time works in a run folder.

The owner holds a file lock, which the system drops when the process ends, however it ends. A lock may not reach other
hosts of a shared folder, so the owner also keeps `owner.json` young: another host takes the folder over only when that
file was not touched for `STALE_S`. Ages are differences of times that the folder's own file system has set, so the
hosts' clocks need not agree.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medray.errors import CheckpointError
from medray.storage.atomic import explain_full_disk, temporary_beside, write_text

OWNER = "owner.json"
LOCK = ".owner.lock"
BEAT_S = 10.0
STALE_S = 60.0


@contextmanager
def owned(folder: str | Path) -> Iterator[None]:
    """Own `folder` while the block runs; it is made where it is missing.

    A process that finds its folder taken over, because it was stopped for longer than `STALE_S`, ends itself with
    SIGTERM: two writers would roll each other back.

    Raises:
        CheckpointError: another process owns the folder; names its host, process and age. Nothing was touched.
        ResourceError: the disk is full.
    """
    folder = Path(folder)
    try:
        with explain_full_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
            lock.acquire()
    except Timeout:
        raise _in_use(folder, _read(folder)) from None
    except OSError as error:
        raise CheckpointError(f"out={folder} cannot be written: {error.strerror}") from None
    try:
        _refuse_a_living_owner(folder)
        token = secrets.token_hex(8)
        write_text(folder / OWNER, json.dumps(_claim(token), indent=2) + "\n")
        over = threading.Event()
        beat = threading.Thread(target=_beat, args=(folder, token, over), daemon=True, name="owner")
        beat.start()
        try:
            yield
        finally:
            over.set()
            if _read(folder).get("token") == token:
                (folder / OWNER).unlink(missing_ok=True)
    finally:
        lock.release()
        _forget_if_empty(folder)


def _forget_if_empty(folder: Path) -> None:
    """Leave no trace of a run that was refused before it wrote anything."""
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()


def _claim(token: str) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "token": token,
    }


def _refuse_a_living_owner(folder: Path) -> None:
    """The lock is ours: an owner on this host is dead, one on another host may not have been reached by it."""
    claim = _read(folder)
    if not claim or (claim.get("host"), claim.get("boot")) == (socket.gethostname(), _boot()):
        return
    if (silent := _silence_s(folder)) < STALE_S:
        raise _in_use(folder, claim, silent)


def _in_use(folder: Path, claim: dict[str, Any], silent_s: float | None = None) -> CheckpointError:
    who = "another process"
    if claim:
        who = f"process {claim.get('pid')} on {claim.get('host')}"
        if age := _age(claim):
            who += f", {age} old"
    waiting = ""
    if silent_s is not None:
        waiting = f" (last sign of life {silent_s:.0f} s ago; its claim ends after {STALE_S:.0f} s of silence)"
    return CheckpointError(
        f"out={folder} is in use by {who}{waiting}: wait for it, stop it, or choose another out="
    )


def _age(claim: dict[str, Any]) -> str:
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(claim["since"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return ""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _read(folder: Path) -> dict[str, Any]:
    try:
        claim = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return claim if isinstance(claim, dict) else {}


def _silence_s(folder: Path) -> float:
    """Seconds since the owner last touched its file, by the file system's clock."""
    now = temporary_beside(folder / OWNER)
    now.touch()
    try:
        return now.stat().st_mtime - (folder / OWNER).stat().st_mtime
    except FileNotFoundError:  # it ended just now
        return STALE_S
    finally:
        now.unlink(missing_ok=True)


def _beat(folder: Path, token: str, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        if _read(folder).get("token") == token:
            os.utime(folder / OWNER)
        elif not over.is_set() and (folder / OWNER).exists():
            print(f"error: another process took over {folder}", file=sys.stderr, flush=True)
            signal.raise_signal(signal.SIGTERM)
            return


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
