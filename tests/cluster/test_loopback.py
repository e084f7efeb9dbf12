"""`ray up` on this machine, a job submitted, scaled, cut off from a node and finished, `ray down`: in one run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.jobs import ROOT

UNSHARE = ["unshare", "--fork", "--pid", "--kill-child", "--mount-proc", "--net", "--mount"]
# bash stays the first process of the namespace and reaps what Ray leaves behind.
INSIDE = '"$@"; code=$?; exit $code'


def _lacking() -> str | None:
    for tool in ("ip", "nsenter", "rsync", "ssh", "ssh-keygen", "unshare", "bash"):
        if shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            return f"{tool} is not installed"
    if not Path("/usr/sbin/sshd").is_file():
        return "sshd is not installed (apt-get install openssh-server rsync iproute2)"
    if os.geteuid() != 0 or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        return "namespaces cannot be made: not root, or not allowed here"
    return None


@pytest.fixture
def home() -> Iterator[None]:
    """Mount points that the story makes in the home folder, and leaves empty, are gone afterwards."""
    made = [Path.home() / name for name in (".ssh", ".ray", "medray", ".bashrc")]
    made = [place for place in made if not place.exists()]
    yield
    for place in made:
        with contextlib.suppress(OSError):
            place.unlink() if place.is_file() else place.rmdir()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.usefixtures("home")
@pytest.mark.timeout(1500)
def test_ray_up_submit_scale_cut_off_and_ray_down(tiny_model: Path) -> None:
    if lacking := _lacking():
        pytest.skip(lacking)
    with tempfile.TemporaryDirectory(
        prefix="mr-", dir="/tmp"
    ) as work:  # short: sockets are made below it
        command = [sys.executable, "-m", "tests.support.loopback", work, str(tiny_model)]
        run = subprocess.run(
            [*UNSHARE, "bash", "-c", INSIDE, "bash", *command], cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    print(run.stdout)
    assert run.returncode == 0, run.stdout[-6000:]
    assert "all held" in run.stdout
