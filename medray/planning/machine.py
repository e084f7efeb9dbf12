"""What there is to plan for: memory of this machine, or figures given by hand."""

from __future__ import annotations

from dataclasses import dataclass

from medray.errors import ConfigError
from medray.system.machine import describe_machine
from medray.system.units import GIB


@dataclass(frozen=True)
class Machine:
    """One node, of `num_nodes` alike."""

    memory_bytes: int
    gpu_bytes: int | None  # of one GPU; None where there is none
    num_gpus: int
    cores: int
    num_nodes: int = 1


def this_machine() -> Machine:
    """Measure this machine: host memory, GPU memory in bytes, GPUs and CPU cores."""
    seen = describe_machine()
    gpus = seen["gpus"]
    gpu_bytes = _memory_of(gpus[0]) if gpus else None
    return Machine(int(seen["memory_gib"] * GIB), gpu_bytes, len(gpus), int(seen["cores"]))


def given_machine(text: str) -> Machine:
    """A machine from `memory=64,gpu=80,gpus=8,cores=32,nodes=2` (memory and gpu in GiB).

    Raises:
        ConfigError: another key, or a value that is no number.
    """
    known = {"memory": 0.0, "gpu": 0.0, "gpus": 0.0, "cores": 1.0, "nodes": 1.0}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if key not in known or not equals:
            raise ConfigError(
                f"--machine: {part!r} is not one of {', '.join(f'{k}=NUMBER' for k in known)}"
            )
        try:
            known[key] = float(value)
        except ValueError:
            raise ConfigError(f"--machine: {key}={value!r} is not a number") from None
    num_gpus = int(known["gpus"]) or (1 if known["gpu"] else 0)
    gpu_bytes = int(known["gpu"] * GIB) if known["gpu"] else None
    return Machine(
        int(known["memory"] * GIB), gpu_bytes, num_gpus, int(known["cores"]), int(known["nodes"])
    )


def _memory_of(gpu: str) -> int | None:
    """Bytes from nvidia-smi's `name, 81559 MiB, driver`."""
    size = gpu.split(",")[1].split() if gpu.count(",") >= 2 else []
    return int(float(size[0]) * 2**20) if size else None
