"""Predicted memory against the peak of a real learner process, for kinds and sizes no constant was fitted to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medray.planning.plan import plan_job
from tests.support.measured_learner import KINDS, WIDTHS, job, save_model

ROOT = Path(__file__).parents[2]
ROW_TOKENS = 512
TOLERANCE = 0.15


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {size: save_model(tmp_path_factory.mktemp("models") / size, size) for size in WIDTHS}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", WIDTHS)
def test_the_prediction_is_within_15_percent(
    folders: dict[str, Path], size: str, kind: str
) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.measured_learner",
        str(folders[size]),
        kind,
        str(ROW_TOKENS),
    ]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "2"}
    )
    assert run.returncode == 0, run.stderr
    measured = int(run.stdout.split("peak ")[1])
    [learner] = plan_job(job(folders[size], kind, ROW_TOKENS)).roles
    predicted = learner.memory.device_bytes
    print(
        f"{size} {kind}: predicted {predicted / 2**20:.0f} MiB, measured {measured / 2**20:.0f} MiB"
    )
    assert predicted == pytest.approx(measured, rel=TOLERANCE)
