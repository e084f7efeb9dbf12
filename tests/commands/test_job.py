"""How a job ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.jobs import ROOT

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_interrupted_says_so_in_one_line(sent: signal.Signals) -> None:
    """Ray must not take the signal for its own: `medray job stop` and Kubernetes send SIGTERM, Ctrl-C SIGINT."""
    job = subprocess.Popen(
        [sys.executable, "-m", "tests.support.waiting_job", "seconds=60"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert job.stdout is not None
    assert job.stdout.readline() == "waiting\n"

    job.send_signal(sent)
    _, said = job.communicate(timeout=60)

    assert job.returncode == 130, said
    assert said == "interrupted: run the same command again to continue from the last checkpoint\n"
