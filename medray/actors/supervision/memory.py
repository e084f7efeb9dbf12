"""Peak memory of running actors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medray.actors.ray_calls.wait import gather
from medray.errors import MedrayError

DEADLINE_S = 10.0  # for all of them together


def peak_memory(actors: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Bytes at their peak, by actor: `host`, and `gpu` where there is one. Actors that do not answer are left out."""
    calls = {name: actor.peak_memory.remote() for name, actor in actors.items()}
    end = time.monotonic() + DEADLINE_S
    found: dict[str, dict[str, int]] = {}
    for name, call in calls.items():
        try:
            left = max(0.1, end - time.monotonic())
            found |= gather({name: call}, deadline_s=left, doing="ask for memory")
        except MedrayError:
            continue
    return found


def own_peak() -> dict[str, int]:
    """The same of the process that calls this."""
    import sys

    peak = {"host": _high_water_mark()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        peak["gpu"] = int(torch.cuda.max_memory_reserved())
    return peak


def _high_water_mark() -> int:
    # psutil has no peak on Linux, and getrusage's begins at that of the process that started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0
