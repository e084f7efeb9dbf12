"""The time to the first step, phase by phase."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medray.observability.startup import Startup


def test_phases_add_up_from_the_submission(tmp_path: Path) -> None:
    now = [103.0]
    startup = Startup(lambda: now[0], submitted_at=100.0, process_at=102.0)
    for phase, at in (("driver", 103.0), ("ray", 106.0), ("actors", 130.0), ("sync", 131.0)):
        now[0] = at
        startup.mark(phase)
    startup.note_actors({"rollout-0": 20.0, "learner rank 0": 12.0})
    now[0] = 150.0
    startup.finish(tmp_path)
    startup.mark("later")

    told = json.loads((tmp_path / "startup.json").read_text())
    assert told["phases_s"] == {
        "submit": 2.0,
        "driver": 1.0,
        "ray": 3.0,
        "actors": 24.0,
        "sync": 1.0,
        "first step": 19.0,
    }
    assert told["total_s"] == pytest.approx(150 - 100)
    assert told["actors_over_slowest"] == pytest.approx(1.2)
    assert startup.line().startswith("50 s: submit 2, driver 1, ray 3, actors 24")


def test_without_a_submission_it_counts_from_the_process() -> None:
    startup = Startup(lambda: 105.0, submitted_at=None, process_at=102.0)
    startup.mark("driver")
    assert startup.seconds == {"driver": 3.0}


def test_a_submission_that_is_told_late_comes_first(tmp_path: Path) -> None:
    startup = Startup(lambda: 105.0, process_at=102.0)
    startup.mark("driver")
    for at in (None, 103.0, 99.0, 95.0):
        startup.submitted(at)
    assert list(startup.seconds.items()) == [("submit", 3.0), ("driver", 3.0)]
