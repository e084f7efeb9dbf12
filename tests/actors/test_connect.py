"""Joining or starting Ray: what goes wrong is one line."""

from __future__ import annotations

import os
from typing import Any

import pytest
import ray

from medray.actors.cluster.connect import connected
from medray.errors import ClusterError

SLOW = (
    "The current node timed out during startup. This could happen because some of the raylet failed to startup."
    "\nLogs are in /tmp/ray"
)


@pytest.fixture
def failing_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for a Ray that talks to stderr and does not start in time."""

    def init(**_: Any) -> None:
        os.write(2, b"raylet: many lines\n")
        raise Exception(SLOW)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "Ray does not start (The current node timed out during startup."),
        ("10.0.0.1:6379", "RAY_ADDRESS=10.0.0.1:6379 (The current node timed out"),
    ],
)
@pytest.mark.usefixtures("failing_init")
def test_a_ray_that_does_not_start_is_one_line(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)

    with pytest.raises(ClusterError) as caught, connected():
        pass

    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert "start it again" in str(caught.value) or "is the cluster up?" in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("failing_init")
def test_rays_own_messages_are_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDRAY_VERBOSE", "1")

    with pytest.raises(ClusterError), connected():
        pass

    assert "raylet: many lines" in capfd.readouterr().err


@pytest.mark.parametrize("was_up", [False, True])
def test_what_was_started_is_stopped_and_what_was_up_is_left_alone(
    was_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: was_up)
    monkeypatch.setattr(ray, "init", lambda **_: calls.append("init"))
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    with connected():
        calls.append("work")

    assert calls == (["work"] if was_up else ["init", "work", "shutdown"])
