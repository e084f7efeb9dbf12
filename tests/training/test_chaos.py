"""A random process is killed or frozen every few seconds: the run ends, and every prompt was trained on once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from tests.support.jobs import choice_file, start_job, tiny_settings
from tests.support.running import actor_processes, train_rows, wait_for_step

STEPS = 30
EVERY_S = (4.0, 9.0)
ROLES = ("RolloutActor",) * 3 + ("RewardActor",) * 2 + ("LearnerActor",)
WORKERS = {
    "learner": {"count": 2, "cpus": 0.3}, "rollout": {"count": 3, "cpus": 0.3}, "grader": {"count": 2, "cpus": 0},
    "max_restarts": 60,
}  # fmt: skip


def _harm(job: psutil.Process, role: str, rng: random.Random) -> str | None:
    """Kill, or one time in four freeze, a process of a role; says which."""
    found = [p for p in actor_processes(job, role) if p.status() != psutil.STATUS_STOPPED]
    if not found:
        return None  # it is being replaced
    how = signal.SIGSTOP if rng.random() < 0.25 else signal.SIGKILL
    rng.choice(found).send_signal(how)
    return f"{role} {how.name}"


def _torment(
    process: subprocess.Popen[str], out: Path, rng: random.Random, deadline_s: float
) -> Counter[str]:
    """Harm the job until it ends; learners, whose death starts it again from a checkpoint, not without pause."""
    job, harmed, end = psutil.Process(process.pid), Counter[str](), time.monotonic() + deadline_s
    learner_step = 0
    while process.poll() is None:
        assert time.monotonic() < end, f"not done; so far {harmed}"
        time.sleep(rng.uniform(*EVERY_S))
        try:
            done = max((r.step for r in read_metrics(out) if r.kind == "train"), default=0)
            role = rng.choice(ROLES)
            if role == "LearnerActor" and done < learner_step + 6:
                role = "RolloutActor"
            if what := _harm(job, role, rng):
                harmed[what] += 1
                learner_step = done if role == "LearnerActor" else learner_step
        except psutil.Error:
            continue  # it ended meanwhile
    return harmed


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("max_lag", [None, 1], ids=["in_turn", "ahead"])
def test_every_prompt_is_trained_on_once_whatever_happens(
    tiny_model: Path, tmp_path: Path, max_lag: int | None
) -> None:
    settings: dict[str, Any] = tiny_settings(
        tiny_model, tmp_path, workers=WORKERS, num_steps=STEPS, checkpoint={"every": 3},
        deterministic=False, deadlines={"frozen_s": 8, "start_s": 600},
    )  # fmt: skip
    settings["data"]["path"] = str(choice_file(tmp_path, STEPS * 4 + 8))
    settings["rollout"] |= {"max_lag": max_lag, "max_new_tokens": 48}
    out = Path(settings["out"])
    process = start_job(settings)
    wait_for_step(out, 1, process, deadline_s=600)
    harmed = _torment(process, out, random.Random(5), deadline_s=1700)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-4000:]
    assert sum(harmed.values()) >= 5, harmed

    steps = [row.step for row in train_rows(out)]
    assert steps == list(range(1, STEPS + 1))
    rows = read_rollouts(out).to_pylist()
    trained = Counter(r["prompt_id"] for r in rows if r["sample"] == 0)
    assert len(trained) == STEPS * 4, "one epoch holds just as many prompts"
    assert set(trained.values()) == {1}
    assert len(rows) == STEPS * 4 * 4
    incidents = [json.loads(line) for line in (out / "incidents.jsonl").read_text().splitlines()]
    deaths = [i for i in incidents if i["kind"] == "death"]
    assert deaths
    assert all(i["who"] and i["doing"] and i["cost"] for i in deaths)
    frozen = [i for i in incidents if i["kind"] == "frozen"]
    print(f"harmed: {dict(harmed)}; deaths noted {len(deaths)}, frozen noted {len(frozen)}")
