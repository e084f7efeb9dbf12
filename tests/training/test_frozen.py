"""A run whose processes are stopped one after another: each is named with its stack, and the run ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.support.jobs import start_job, tiny_settings
from tests.support.running import actor_processes, train_rows, wait_for_step

pytestmark = pytest.mark.ray

ACTORS = {
    "RolloutActor": "rollout-",
    "RewardActor": "grader-",
    "ReferenceActor": "reference-",
    "LearnerActor": "learner rank ",
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_frozen_actor_is_diagnosed_and_made_good(tiny_model: Path, tmp_path: Path) -> None:
    settings = tiny_settings(
        tiny_model, tmp_path, num_steps=60, checkpoint={"every": 2},
        algorithm={"kl": {"coef": 0.01}}, deadlines={"frozen_s": 8, "start_s": 240},
    )  # fmt: skip
    out = Path(settings["out"])
    process = start_job(settings)
    job = psutil.Process(process.pid)
    step = 2
    for actor, name in ACTORS.items():
        wait_for_step(out, step, process)
        stopped = actor_processes(job, actor)[0]
        began = time.monotonic()
        stopped.send_signal(signal.SIGSTOP)
        while not (found := [i for i in _frozen(out) if i["pid"] == stopped.pid]):
            assert time.monotonic() - began < 60, f"{actor}: no diagnosis"
            time.sleep(0.2)
        assert found[0]["who"].startswith(name)
        assert found[0]["state"] == "stopped"
        assert "Thread" in found[0]["stack"], found[0]["stack"]
        step = _last_step(out) + 2
    wait_for_step(out, step, process)
    process.terminate()
    process.wait(timeout=60)


def _frozen(out: Path) -> list[dict[str, object]]:
    path = out / "incidents.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [i for i in map(json.loads, lines) if i["kind"] == "frozen"]


def _last_step(out: Path) -> int:
    return max(row.step for row in train_rows(out))
