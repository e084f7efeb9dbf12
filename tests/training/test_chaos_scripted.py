"""Two hundred runs in which graders, judges, rollout workers and learners fail at random: none waits for ever.

Each ends right, or raises within the silence limit of whoever failed, by name, and then from every wait. The clock is
scripted; pools, collector, loop and the thread that samples ahead are the real ones.
"""

from __future__ import annotations

import io
import os
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from medray.actors.groups import GroupHandle
from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.errors import MedrayError
from medray.observability.console.plain import PlainConsole
from medray.training.grpo import train_grpo
from medray.training.sampling import train_spec
from medray.training.steps import PromptSets, Run
from tests.support.fake_workers import ListSink
from tests.support.scripted_ray import ScriptedRay
from tests.support.scripted_workers import Fate, Fault, Plant, prompts

pytestmark = pytest.mark.timeout(120)

NUM_SEEDS = 200
NUM_STEPS, SIZE = 4, 3
LIMITS = {"start_s": 10, "generate_s": 7, "grade_s": 5, "update_s": 8, "sync_s": 6, "save_s": 6}
SLACK_S = 2.5  # two looks at the clocks, and the wait that is under way
LIMIT_OF = {
    "start": "start_s", "sample": "generate_s", "score": "grade_s", "load": "sync_s", "publish": "sync_s",
    "update": "update_s", "reference_logprobs": "update_s", "save": "save_s",
}  # fmt: skip
RATES: list[dict[str, dict[Fate, float]]] = [
    {},
    {"score": {"raise": 0.2}},
    {"score": {"raise": 0.05, "late": 0.3, "die": 0.05}},
    {"score": {"hang": 0.04, "late": 0.1}},
    {"sample": {"raise": 0.1, "late": 0.2, "die": 0.05}, "load": {"die": 0.05}},
    {"sample": {"hang": 0.03}, "score": {"die": 0.2}},
    {"load": {"raise": 0.1}, "score": {"late": 0.3}},
    {"load": {"hang": 0.1}, "sample": {"late": 0.3}},
    {"update": {"raise": 0.1}, "save": {"hang": 0.3}, "publish": {"hang": 0.1}},
    {"reference_logprobs": {"hang": 0.03, "late": 0.1}, "update": {"hang": 0.1, "late": 0.3}},
]
"""How often calls of each method go wrong, one row a kind of chaos."""


@dataclass
class Watched:
    """Workers whose trained and dropped groups are counted."""

    workers: Workers
    trained: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.workers, name)

    def record(self, step: int, batch: list[GroupHandle], advantages: Any) -> None:
        self.trained.update(group.prompt.record.id for group in batch)
        self.workers.record(step, batch, advantages)


def _job(rng: random.Random, out: Path) -> GrpoJob:
    kind = rng.choice(["grpo", "grpo", "remax"])
    algorithm: dict[str, Any] = {"kind": kind, "kl": {"coef": rng.choice([0.0, 0.1])}}
    on_failure = rng.choice(["stop", "drop"])
    return GrpoJob.model_validate(
        {
            "num_steps": NUM_STEPS,
            "out": str(out),
            "algorithm": algorithm,
            "rollout": {
                "prompts_per_step": SIZE, "samples_per_prompt": 2, "max_lag": rng.choice([None, 0, 1, 1, 2]),
                "environment": {"retries": 1, "on_failure": on_failure},
            },
            "evaluation": {"every": 2, "num_items": 2},
            "checkpoint": {"every": 2},
            "grading": {"retries": 2, "on_failure": on_failure},
            "rewards": [{"kind": "text"}, {"kind": "model"}],
            "logging": {"rollouts": False},
            "workers": {"rollout": {"count": 2}, "grader": {"count": rng.choice([1, 2])}, "max_restarts": 6},
            "deadlines": LIMITS,
        }
    )  # fmt: skip


def _plant(ray: ScriptedRay, rng: random.Random) -> Plant:
    rates = rng.choice(RATES)

    def script(actor: str, method: str, about: str) -> Fate:
        draw = rng.random()
        for fate, share in rates.get(method, {}).items():
            draw -= share
            if draw < 0:
                return fate
        return "well"

    return Plant(ray, script, late_s=4.0)


def _run(ray: ScriptedRay, plant: Plant, job: GrpoJob) -> tuple[Watched, ListSink, str]:
    """Train to the end; the error that ended it, or nothing."""
    watched, sink = Watched(plant.workers(job, judges=1)), ListSink()
    run = Run(
        PromptSets(prompts(200), prompts(2, 900)),
        cast(Any, sink),
        PlainConsole(job.num_steps, io.StringIO()),
    )
    try:
        watched.wait_ready()
        train_grpo(job, cast(Workers, watched), run)
    except MedrayError as error:
        return watched, sink, str(error)
    return watched, sink, ""


def _end_of(fault: Fault) -> float:
    """When a fault that nothing makes good must have shown, at the latest."""
    return fault.at + LIMITS[LIMIT_OF[fault.method]] + SLACK_S


def _check_end(job: GrpoJob, watched: Watched, sink: ListSink, plant: Plant) -> None:
    """Every step was taken, and no prompt twice; none was lost where none may be dropped."""
    assert sorted(sink.steps) == list(range(1, NUM_STEPS + 1))
    assert set(watched.trained.values()) == {1}
    if job.grading.on_failure == "stop":
        assert len(watched.trained) == NUM_STEPS * SIZE
    unseen = [f for f in plant.faults if f.fate == "hang" and f.method != "load"]
    assert all(f.method == "start" or f.actor.startswith("rollout") for f in unseen), unseen


def _check_failure(ray: ScriptedRay, watched: Watched, plant: Plant, text: str) -> None:
    assert plant.faults, f"nothing went wrong, but: {text}"
    assert re.search(r"(rollout|grader|reward|learner rank|prompt p?)-? ?\d", text), text
    assert "from  " not in text
    named = [f for f in plant.faults if f.actor in text or (f.about and f.about in text)]
    assert named or "no group of the batch could be scored" in text, (text, plant.faults)
    hung = [f for f in plant.faults if f.fate == "hang" and f.method not in ("load", "start")]
    assert all(ray.now <= _end_of(f) for f in hung), (ray.now, text, hung)
    updates, asked = len(plant.updates), ray.now
    for wait in (
        lambda: watched.workers.sync(99),
        lambda: watched.workers.update([], [], place=9),
        lambda: watched.workers.save(99, {}),
        lambda: watched.collector.collect(prompts(1), [0], train_spec(watched.job)),
    ):
        with pytest.raises(MedrayError, match=re.escape(text)):
            wait()
    assert len(plant.updates) == updates
    assert ray.now - asked < 1


def test_no_run_waits_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ends = Counter[str]()
    monkeypatch.setattr(os, "fsync", lambda file: None)  # of the real disk
    for seed in range(NUM_SEEDS):
        rng = random.Random(seed)
        ray = ScriptedRay(rng).install(monkeypatch)
        job, plant = _job(rng, tmp_path), _plant(ray, rng)
        watched, sink, text = _run(ray, plant, job)
        if text:
            _check_failure(ray, watched, plant, text)
        else:
            _check_end(job, watched, sink, plant)
        ends["failed" if text else "hurt, yet right" if plant.faults else "unhurt"] += 1
    assert min(ends.values()) > NUM_SEEDS // 12, ends
