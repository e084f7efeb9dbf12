"""Processor, memory, GPUs and disks."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from medray.doctor.finding import Finding, error, note, ok, warning
from medray.system.machine import describe_machine
from medray.system.units import GIB

MIN_SHM_GIB = 2.0
MIN_DISK_GIB = 5.0
MIN_MEMORY_GIB = 6.0
BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16", "sve")  # x86 with fast kernels, then Arm
MIN_DRIVER = {12: 525, 13: 580}
"""Oldest NVIDIA driver for each major CUDA version (NVIDIA's table of minor-version compatibility)."""


def check_cpu(
    dtype: str = "float32", device: str = "cpu", flags: set[str] | None = None
) -> Iterator[Finding]:
    """Instruction sets, and what they mean for the dtype."""
    flags = cpu_flags() if flags is None else flags
    cores = int(describe_machine()["cores"])
    fast = [f for f in BF16_FLAGS if f in flags]
    widest = next((f for f in ("avx512f", "avx2", "asimd") if f in flags), "no vector unit known")
    if flags and "avx2" not in flags and "asimd" not in flags:
        yield error(
            "cpu", "the processor has neither AVX2 nor NEON", "vLLM's CPU build has no kernels for this processor",
            "use a newer machine, or a GPU with model.device=cuda",
        )  # fmt: skip
        return
    if device == "cpu" and dtype in ("bfloat16", "float16") and not fast:
        yield warning(
            "dtype", f"model.dtype={dtype} on a processor with {widest} and without bf16 instructions",
            "16-bit matrix products are emulated and 4-10 times slower than in float32",
            "set model.dtype=float32",
        )  # fmt: skip
    elif device == "cpu":
        advice = "has bfloat16 instructions" if fast else "float32 is the fastest dtype here"
        yield ok("cpu", f"{cores} cores, {fast[0] if fast else widest}: {advice}")
    if cores < 2:
        yield warning(
            "cores", "only one core", "Ray's processes and the job share it",
            "use two or more cores; in containers, raise the CPU limit",
        )  # fmt: skip


def cpu_flags() -> set[str]:
    """Instruction-set flags of the first processor; empty where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def check_memory(available_gib: float | None = None) -> Iterator[Finding]:
    """Host memory that is free now."""
    free = _available_gib() if available_gib is None else available_gib
    if free < MIN_MEMORY_GIB:
        yield warning(
            "memory", f"{free:.1f} GiB of memory available",
            "the smallest job (135M parameters, full fine-tuning) needs about 6 GiB with its engine",
            "stop other programs, or check what your job needs with `medray plan CONFIG`",
        )  # fmt: skip
    else:
        yield ok("memory", f"{free:.1f} GiB of memory available")


def check_shm(path: str = "/dev/shm") -> Iterator[Finding]:
    """Ray's object store lives there."""
    try:
        free = shutil.disk_usage(path).free / GIB
    except OSError:
        yield error(
            "shm", f"{path} does not exist", "Ray's object store needs shared memory",
            "mount a tmpfs at this path; Docker: --shm-size=8g",
        )  # fmt: skip
        return
    if free < MIN_SHM_GIB:
        yield error(
            "shm", f"{path} has {free:.2f} GiB free",
            "rollouts and weights are in Ray's object store in shared memory; when it is full, Ray falls back to "
            "the disk, which is ten times slower, or dies of SIGBUS",
            "Docker: --shm-size=8g; Kubernetes: an emptyDir with medium Memory at /dev/shm (deploy/ has one)",
        )  # fmt: skip
    else:
        yield ok("shm", f"{path} has {free:.1f} GiB free")


def check_disk(folders: dict[str, Path]) -> Iterator[Finding]:
    """Room for checkpoints, models and Ray's session."""
    for use, folder in folders.items():
        place = next(
            (p for p in [folder.absolute(), *folder.absolute().parents] if p.exists()), Path("/")
        )
        free = shutil.disk_usage(place).free / GIB
        if not os.access(place, os.W_OK):
            yield error(
                f"disk:{use}", f"{place} ({use}) cannot be written", "the job stops when it writes its first file",
                "choose another folder, or change its owner",
            )  # fmt: skip
        elif free < MIN_DISK_GIB:
            yield error(
                f"disk:{use}", f"{place} ({use}) has {free:.1f} GiB free",
                "a full fine-tuning checkpoint is three times the size of the model in float32, and two are kept",
                "free some disk space, or choose another folder",
            )  # fmt: skip
        else:
            yield ok(f"disk:{use}", f"{place} ({use}) has {free:.0f} GiB free")


def check_gpu(device: str = "cpu") -> Iterator[Finding]:
    """GPUs, their driver, and NCCL."""
    gpus: list[str] = describe_machine()["gpus"]
    if not gpus:
        if device == "cuda":
            yield error(
                "gpu", "model.device=cuda, but nvidia-smi shows no GPU", "the learner cannot start",
                "set model.device=cpu, install the NVIDIA driver, or run with `--gpus all` in Docker",
            )  # fmt: skip
        else:
            yield note("gpu", "no GPU: jobs run on the CPU")
        return
    for gpu in gpus:
        yield ok("gpu", gpu)
    if device == "cpu":
        yield note(
            "gpu", "the machine has a GPU, but the job does not use it", "the job will run on the CPU",
            "set model.device=cuda and workers.*.gpus, see jobs/configs/grpo_lora_gpu.yaml",
        )  # fmt: skip
    yield from _driver(gpus)
    yield from _nccl()


def _driver(gpus: list[str]) -> Iterator[Finding]:
    driver = gpus[0].rsplit(",", 1)[-1].strip()
    build = metadata.version("torch").partition("+")[2]
    if build == "cpu":
        yield error(
            "cuda", "torch is a CPU build on a machine with a GPU", "it cannot use the GPU",
            "make setup EXTRA=gpu",
        )  # fmt: skip
        return
    major = next((d.metadata["Name"].rsplit("cu", 1)[-1] for d in metadata.distributions()
                  if str(d.metadata["Name"]).startswith("nvidia-nccl-cu")), "13")  # fmt: skip
    wanted = MIN_DRIVER.get(int(major), 0)
    if driver.partition(".")[0].isdigit() and int(driver.partition(".")[0]) < wanted:
        yield error(
            "driver", f"NVIDIA driver {driver}", f"torch's CUDA {major} needs driver {wanted} or newer",
            f"install driver {wanted} or newer",
        )  # fmt: skip
    else:
        yield ok("driver", f"NVIDIA driver {driver} for CUDA {major}")


def _nccl() -> Iterator[Finding]:
    run = subprocess.run(["nvidia-smi", "topo", "-m"], capture_output=True, text=True)
    if run.returncode == 0 and "NV" not in run.stdout and run.stdout.count("GPU") > 2:
        yield note(
            "nccl",
            "the GPUs have no NVLink",
            "NCCL uses PCIe: weight sync and gradient reduction are slower",
        )


def _available_gib() -> float:
    free = psutil.virtual_memory().available
    with contextlib.suppress(
        OSError, ValueError
    ):  # no control group, or one without a limit: "max"
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    return free / GIB
