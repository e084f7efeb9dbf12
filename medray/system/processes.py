"""What a process of this machine is doing, seen from outside: its state, and the stack it stands in.

The kernel and py-spy are asked, never the process itself, so a process that is stopped or stuck is seen as well.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waiting for a device",
    "T": "stopped",
    "t": "held by a debugger",
    "Z": "ended, not collected",
}
STOPPED = ("T", "t")
STACK_S = 15.0  # seconds py-spy may take
MAX_STACK = 6000  # characters kept of a stack


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of one machine: its number, and when it began, since numbers are used again."""

    pid: int
    born: int  # clock ticks since the machine booted; 0 where the kernel does not say

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this number now."""
        fields = _stat(pid)
        return cls(pid, int(fields[19]) if fields else 0)


def state_of(process: ProcessId) -> str:
    """The kernel's letter for the state of a process (see `STATES`); empty when it is gone or unknown."""
    fields = _stat(process.pid)
    if not fields or (process.born and int(fields[19]) != process.born):
        return ""
    return fields[0]


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
        os.kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on: the second, the name, may hold spaces."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _kernel_wait(pid: int) -> str:
    try:
        return f"waits in the kernel's {Path(f'/proc/{pid}/wchan').read_text() or 'nothing'}"
    except OSError:
        return "the kernel does not say where it waits"


def processes_named(name: str, *, argument: str) -> list[ProcessId]:
    """Processes of this machine called `name` whose command line holds `argument`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().strip() != name:
                continue
            if argument.encode() in (entry / "cmdline").read_bytes():
                found.append(ProcessId.of(int(entry.name)))
        except OSError:
            continue
    return found
