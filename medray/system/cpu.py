"""How a process that trains, scores or generates uses its CPUs and its heap."""

from __future__ import annotations

import contextlib
import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
EAGER = {"TORCH_COMPILE_DISABLE": "1"}
"""Environment of an eager engine: vLLM would compile a comparison of its sampler even so, which takes a compiler, some
ten seconds, and the first time on a machine a minute."""

ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
"""Environment, from its start, of a process that computes in another thread than its first. malloc gives such a thread
a heap in pieces of 64 MB, and maps what is larger anew each time, whatever `keep_heap` asks for."""


def use_cpu(num_threads: int) -> None:
    """Compute with `num_threads` threads on a heap that stays; call it before the first model is loaded."""
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    keep_heap()
    import torch

    torch.set_num_threads(num_threads)


def keep_heap() -> None:
    """Have malloc reuse what is freed instead of giving it back to the system; does nothing without glibc.

    Activations are tens of megabytes each. malloc otherwise maps and unmaps every one of them, and the system
    zeroes its pages again: some 100,000 page faults a row, and a tenth of an update.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
