"""What a process that computes does with its memory and its threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from medray.system.cpu import ONE_ARENA

PROBE = """
import resource
import threading
from medray.system.cpu import use_cpu
use_cpu(1)
import torch
assert torch.get_num_threads() == 1
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def compute():
    for _ in range(16):  # the heap grows to what is needed
        torch.ones(2**25)
    before = faults()
    for _ in range(16):
        torch.ones(2**25)  # 128 MiB: 32,768 pages, touched anew each time if it were given back
    print(faults() - before)
"""
HERE, IN_A_THREAD = "compute()", "t = threading.Thread(target=compute); t.start(); t.join()"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(("call", "environment"), [(HERE, {}), (IN_A_THREAD, ONE_ARENA)])
def test_freed_memory_is_used_again_without_page_faults(
    call: str, environment: dict[str, str]
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROBE + call],
        env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(run.stdout) < 16 * 32_768 / 4
