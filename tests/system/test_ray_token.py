"""The token of Ray clusters started here is its owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from medray.system.ray_token import keep_token_private


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".ray" / "auth_token"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_it_is_made_private_before_ray_makes_it(token: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        keep_token_private()
    finally:
        os.umask(before)
    assert _mode(token) == 0o600
    assert len(token.read_text()) >= 32
    first = token.read_text()
    keep_token_private()
    assert token.read_text() == first


def test_one_that_others_could_read_is_closed_to_them(token: Path) -> None:
    token.parent.mkdir()
    token.write_text("made by ray")
    token.chmod(0o644)
    keep_token_private()
    assert _mode(token) == 0o600
    assert token.read_text() == "made by ray"


def test_a_token_that_is_set_elsewhere_needs_no_file(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 32)
    keep_token_private()
    assert not token.exists()
