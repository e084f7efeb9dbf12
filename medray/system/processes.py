"""What a process of this machine is doing, seen from outside: its state, and the stack it stands in.

The kernel (through psutil) and py-spy are asked, never the process itself, so a process that is stopped or stuck is
seen as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

STATES = {
    psutil.STATUS_RUNNING: "running",
    psutil.STATUS_SLEEPING: "sleeping",
    psutil.STATUS_DISK_SLEEP: "waiting for a device",
    psutil.STATUS_STOPPED: "stopped",
    psutil.STATUS_TRACING_STOP: "held by a debugger",
    psutil.STATUS_ZOMBIE: "ended, not collected",
}
STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
STACK_S = 15.0  # seconds py-spy may take
MAX_STACK = 6000  # characters kept of a stack


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of one machine: its number, and when it began, since numbers are used again."""

    pid: int
    born: float  # seconds after the machine booted; 0 where there is no such process

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this number now."""
        try:
            return cls(pid, _born(psutil.Process(pid)))
        except psutil.Error:
            return cls(pid, 0.0)


def state_of(process: ProcessId) -> str:
    """State of a process as psutil names it (see `STATES`); empty when it is gone or unknown."""
    try:
        found = psutil.Process(process.pid)
        with found.oneshot():
            is_other = process.born and _born(found) != process.born
            return "" if is_other else found.status()
    except psutil.Error:
        return ""


def stack_of(process: ProcessId) -> str:
    """Where every thread of a process stands, innermost frame first.

    Where py-spy may not read the process, its reason, and the function of the kernel the process waits in.
    """
    if not state_of(process):
        return "the process is gone"
    tool = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if tool is None:
        return f"py-spy is not installed; {_kernel_wait(process.pid)}"
    command = [tool, "dump", "--nonblocking", "--pid", str(process.pid)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=STACK_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"py-spy gave no answer ({type(error).__name__}); {_kernel_wait(process.pid)}"
    if done.returncode:
        reason = " ".join(done.stderr.split())[:300]
        return f"py-spy: {reason}; {_kernel_wait(process.pid)}"
    return done.stdout.strip()[:MAX_STACK]


def innermost(stack: str) -> str:
    """The first Python frame of a stack that py-spy printed; empty when there is none."""
    lines = stack.splitlines()
    after = [i + 1 for i, line in enumerate(lines) if line.startswith("Thread ")]
    main = next((i for i in after if "MainThread" in lines[i - 1]), after[0] if after else None)
    return lines[main].strip() if main is not None and main < len(lines) else ""


def kill(process: ProcessId) -> bool:
    """SIGKILL the process, which ends a stopped one too; False when it is gone already."""
    if not state_of(process):
        return False
    try:
        psutil.Process(process.pid).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _born(process: psutil.Process) -> float:
    # Seconds after boot, which no change of the clock moves: processes compare each other's.
    return round(process.create_time() - psutil.boot_time(), 2)


def _kernel_wait(pid: int) -> str:
    try:  # psutil has no wait channel
        return f"waits in the kernel's {Path(f'/proc/{pid}/wchan').read_text() or 'nothing'}"
    except OSError:
        return "the kernel does not say where it waits"


def processes_named(name: str, *, argument: str) -> list[ProcessId]:
    """Processes of this machine called `name` whose command line holds `argument`."""
    return [
        ProcessId.of(process.pid)
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == name
        and any(argument in word for word in process.info["cmdline"] or ())
    ]
