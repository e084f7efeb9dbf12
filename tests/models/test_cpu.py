"""What a process that computes does with its memory and its threads."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROBE = """
import resource
from medray.models.cpu import use_cpu
use_cpu(1)
import torch
assert torch.get_num_threads() == 1
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):  # the heap grows to what is needed
    torch.ones(2**24)
before = faults()
for _ in range(16):
    torch.ones(2**24)  # 64 MiB: 16,384 pages, touched anew each time if it were given back
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 16 * 16_384 / 4
