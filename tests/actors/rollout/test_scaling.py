"""Scaling a pool of rollout workers: who joins, who leaves and when, without a cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medray.actors.rollout.scaling import Scaler
from medray.actors.rollout.state import State
from medray.actors.rollout.worker import RolloutWorker
from medray.actors.supervision.incidents import Incidents
from medray.cli import app
from medray.storage.control import Wanted, ask_for, read_workers, report_workers


class Pool:
    """A pool's side of scaling: its list of workers, and what it was told to do with them."""

    def __init__(self, count: int) -> None:
        self.workers = [RolloutWorker(f"rollout-{i}", i, None, State.SERVING) for i in range(count)]
        self.dismissed: list[str] = []

    def recruit(self, index: int) -> RolloutWorker:
        return RolloutWorker(f"rollout-{index}", index, None, State.STARTING)

    def dismiss(self, worker: RolloutWorker) -> None:
        self.dismissed.append(worker.name)


def scaler(folder: Path, count: int = 2, *, may_join: bool = True) -> tuple[Scaler, Pool]:
    pool = Pool(count)
    made = Scaler(
        pool.workers,
        folder,
        Incidents(folder),
        recruit=pool.recruit if may_join else None,
        dismiss=pool.dismiss,
    )
    made.wanted.every_s = 0
    return made, pool


def test_new_workers_start_and_are_reported(tmp_path: Path) -> None:
    made, pool = scaler(tmp_path)
    made.follow(busy=set())

    ask_for(tmp_path, 4)
    made.follow(busy=set())

    assert [(m.name, m.state) for m in pool.workers[2:]] == [
        ("rollout-2", State.STARTING), ("rollout-3", State.STARTING),
    ]  # fmt: skip
    told = read_workers(tmp_path)
    assert told is not None
    assert told["wanted"] == 4
    assert [w["state"] for w in told["rollouts"]] == ["serving", "serving", "starting", "starting"]


def test_a_worker_leaves_after_its_work(tmp_path: Path) -> None:
    made, pool = scaler(tmp_path, 3)
    ask_for(tmp_path, 1)

    made.follow(busy={"rollout-2"})
    assert pool.dismissed == ["rollout-1"]

    made.follow(busy=set())
    assert pool.dismissed == ["rollout-1", "rollout-2"]
    assert [m.name for m in pool.workers] == ["rollout-0"]


def test_nobody_leaves_before_one_that_stays_serves(tmp_path: Path) -> None:
    made, pool = scaler(tmp_path, 2)
    pool.workers[0].state = State.STARTING
    ask_for(tmp_path, 1)

    made.follow(busy=set())

    assert pool.dismissed == []


def test_without_the_object_store_nothing_changes(tmp_path: Path) -> None:
    made, pool = scaler(tmp_path, may_join=False)
    ask_for(tmp_path, 4)

    made.follow(busy=set())

    assert len(pool.workers) == 2
    assert "refused" in (tmp_path / "incidents.jsonl").read_text()


def test_what_an_earlier_start_was_asked_is_over(tmp_path: Path) -> None:
    ask_for(tmp_path, 8)
    wanted = Wanted(tmp_path, every_s=0)
    assert wanted.rollouts() is None
    ask_for(tmp_path, 3)
    assert wanted.rollouts() == 3
    assert wanted.rollouts() is None


@pytest.mark.parametrize(
    "text", ["", "{", '{"rollouts": 0}', '{"rollouts": true}', '{"rollouts": "4"}', "[4]"]
)
def test_a_broken_request_is_ignored(tmp_path: Path, text: str) -> None:
    wanted = Wanted(tmp_path, every_s=0)
    (tmp_path / "scale.json").write_text(text)
    assert wanted.rollouts() is None


def test_the_command_waits_until_the_workers_serve(tmp_path: Path) -> None:
    report_workers(tmp_path, 2, [{"name": f"rollout-{i}", "state": "serving"} for i in range(2)])

    done = CliRunner().invoke(app, ["scale", str(tmp_path), "rollouts=2"])

    assert done.exit_code == 0, done.output
    assert "2 serving" in done.output
    assert json.loads((tmp_path / "scale.json").read_text())["rollouts"] == 2


@pytest.mark.parametrize(
    ("setting", "words"),
    [("rollouts=0", "1 or more"), ("learners=2", "rollouts=N"), ("rollouts=2", "no running job")],
)
def test_mistakes_say_what_to_do(tmp_path: Path, setting: str, words: str) -> None:
    done = CliRunner().invoke(app, ["scale", str(tmp_path), setting])
    assert words in str(done.exception)


def test_a_cluster_without_room_is_named(tmp_path: Path) -> None:
    report_workers(tmp_path, 1, [{"name": "rollout-0", "state": "serving"}])
    done = CliRunner().invoke(app, ["scale", str(tmp_path), "rollouts=4", "--timeout", "1"])
    assert "may lack the resources" in str(done.exception)
    assert os.path.exists(tmp_path / "scale.json")
