"""A run folder has one owner at a time: a second start is refused and touches nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from medray.errors import CheckpointError
from medray.storage import owner
from medray.storage.owner import OWNER, owned

HOLD = (
    "import sys, time; from medray.storage.owner import owned\n"
    "with owned(sys.argv[1]): print('held', flush=True); time.sleep(60)"
)


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_owner_is_refused_by_host_process_and_age(tmp_path: Path) -> None:
    first = hold(tmp_path)
    try:
        before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
        with (
            pytest.raises(CheckpointError, match=rf"process {first.pid} on \S+, \d+ s old"),
            owned(tmp_path),
        ):
            pass
        assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    finally:
        first.kill()
        first.wait()


def test_a_killed_owner_leaves_the_folder_free_at_once(tmp_path: Path) -> None:
    first = hold(tmp_path)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert (tmp_path / OWNER).is_file()

    with owned(tmp_path):
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
    assert not (tmp_path / OWNER).exists()
    with owned(tmp_path):
        pass


def test_an_owner_on_another_host_counts_until_it_falls_silent(tmp_path: Path) -> None:
    """On a shared folder the lock may not reach: the age of its file decides."""
    claim = {"host": "node-7", "boot": "x", "pid": 12, "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / OWNER).write_text(json.dumps(claim))

    with (
        pytest.raises(CheckpointError, match=r"process 12 on node-7.*sign of life"),
        owned(tmp_path),
    ):
        pass
    assert json.loads((tmp_path / OWNER).read_text()) == claim

    old = time.time() - owner.STALE_S - 1
    os.utime(tmp_path / OWNER, (old, old))
    with owned(tmp_path):
        pass


def test_who_lost_its_folder_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "BEAT_S", 0.05)
    ended = threading.Event()
    monkeypatch.setattr(owner.signal, "raise_signal", lambda number: ended.set())

    with owned(tmp_path):
        time.sleep(0.2)
        assert not ended.is_set()
        (tmp_path / OWNER).write_text(json.dumps({"token": "another"}))
        assert ended.wait(5)
    assert (tmp_path / OWNER).is_file()  # it is the other's now


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CheckpointError, match="cannot be written"),
        owned(tmp_path / "file" / "run"),
    ):
        pass
