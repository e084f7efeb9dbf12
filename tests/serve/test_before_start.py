"""`medray serve` refuses what it cannot serve before Ray starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medray.errors import ModelError
from medray.models.fetching.fetch import require_found


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


def test_a_hub_id_that_the_hub_does_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)
    with pytest.raises(ModelError, match="cannot be loaded from the hub"):
        require_found("nobody/nothing")


def test_folders_are_found(tmp_path: Path) -> None:
    require_found(tmp_path)
    require_found(str(tmp_path))
