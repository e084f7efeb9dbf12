"""A process is seen from outside, whatever it is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from medray.system.processes import (
    ProcessId,
    innermost,
    kill,
    processes_named,
    stack_of,
    state_of,
)

CODE = """
import time
def waits_for_good():
    print("up", flush=True)
    time.sleep(600)
waits_for_good()
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def _wait_for_state(process: ProcessId, state: str) -> None:
    end = time.monotonic() + 10
    while state_of(process) != state:
        assert time.monotonic() < end


def test_a_stopped_process_shows_its_state_and_its_stack(child: subprocess.Popen[str]) -> None:
    process = ProcessId.of(child.pid)
    _wait_for_state(process, psutil.STATUS_SLEEPING)
    os.kill(child.pid, signal.SIGSTOP)
    _wait_for_state(process, psutil.STATUS_STOPPED)
    stack = stack_of(process)
    assert "waits_for_good" in stack
    assert innermost(stack).startswith("waits_for_good")


def test_a_stopped_process_can_be_ended(child: subprocess.Popen[str]) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    assert kill(ProcessId.of(child.pid))
    assert child.wait(timeout=10) == -signal.SIGKILL


def test_a_number_that_is_used_again_is_another_process(child: subprocess.Popen[str]) -> None:
    earlier = ProcessId(child.pid, ProcessId.of(child.pid).born - 1)
    assert state_of(earlier) == ""
    assert stack_of(earlier) == "the process is gone"
    assert not kill(earlier)
    assert child.poll() is None


def test_a_process_is_found_by_its_name_and_an_argument(child: subprocess.Popen[str]) -> None:
    name = psutil.Process(child.pid).name()
    assert ProcessId.of(child.pid) in processes_named(name, argument="waits_for_good")
    assert processes_named(name, argument="no process has this") == []
    assert processes_named("no-such-name", argument="waits_for_good") == []
