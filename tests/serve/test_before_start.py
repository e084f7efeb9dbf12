"""`medray serve` refuses what it cannot serve before Ray starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_model_that_is_nowhere_is_refused_at_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "medray.cli", "serve", "nosuch"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 2
    [error] = done.stderr.strip().splitlines()
    assert error.startswith("error: models.0.path=nosuch: no such folder")
    assert "Traceback" not in done.stderr
    assert "starting" not in done.stdout
    assert not (tmp_path / ".ray").exists()
