"""A frozen process is named with its stack, ended, and replaced; who is late is shown where it stands."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from medray.actors.ray_calls.wait import gather
from medray.actors.scoring.reward_actor import RewardActor
from medray.actors.scoring.reward_pool import RewardPool
from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.node_probe import MonitoredActor
from medray.actors.supervision.watchdog import Watchdog
from medray.errors import DeadlineExceeded
from tests.support.groups import random_groups, sampled
from tests.support.jobs import tiny_job

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def _incidents(folder: Path) -> list[dict[str, Any]]:
    path = folder / "incidents.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _await(folder: Path, kind: str, deadline_s: float = 30) -> dict[str, Any]:
    end = time.monotonic() + deadline_s
    while True:
        found = [i for i in _incidents(folder) if i["kind"] == kind]
        if found:
            return found[0]
        assert time.monotonic() < end, _incidents(folder)
        time.sleep(0.1)


@pytest.fixture
def watchdog(tmp_path: Path) -> Iterator[Watchdog]:
    watchdog = Watchdog(Incidents(tmp_path), patience_s=2)
    yield watchdog
    watchdog.stop()


def test_a_frozen_grader_is_named_killed_and_replaced(
    tiny_model: Path, tmp_path: Path, watchdog: Watchdog
) -> None:
    job = tiny_job(tiny_model, tmp_path, rewards=[{"kind": "tests.support.rewards:Slow"}])
    handles: list[Any] = []

    def spawn(index: int) -> Any:
        actor = RewardActor.options(num_cpus=0).remote(job, index)
        watchdog.add(f"grader-{index}", actor)
        actor.start.remote()
        handles.append(actor)
        return actor

    pool = RewardPool(spawn, 1, job, watchdog.incidents)
    pid = ray.get(pool.graders[0].handle.location.remote(), timeout=60).process.pid
    watchdog.start()
    [group] = random_groups(1)
    pool.submit([sampled(0, group, ray.put(group))])
    time.sleep(1)
    os.kill(pid, signal.SIGSTOP)
    frozen = _await(tmp_path, "frozen")
    assert (frozen["who"], frozen["pid"], frozen["state"]) == ("grader-0", pid, "stopped")
    assert "score" in frozen["stack"], "it stood in the reward"
    assert frozen["node"]
    [(index, score)] = pool.results().items()
    assert index == 0
    assert score is not None
    assert len(handles) == 2, "a replacement graded the group"


@ray.remote(num_cpus=0)
class _Deaf(MonitoredActor):
    def never(self) -> None:
        threading.Event().wait()


def test_a_late_actor_is_shown_where_it_stands(tmp_path: Path, watchdog: Watchdog) -> None:
    actor: Any = _Deaf.remote()
    watchdog.add("rollout-7", actor)
    ray.get(actor.location.remote(), timeout=60)  # it is up
    watchdog.start()
    call = actor.never.remote()
    with pytest.raises(DeadlineExceeded) as late:
        gather({"rollout-7": call}, deadline_s=3, doing="generate")
    error = watchdog.explain(late.value)
    assert "rollout-7 (pid" in str(error)
    assert "never" in _await(tmp_path, "late")["stack"]
    ray.kill(actor)


def test_a_stopped_driver_is_noted_by_the_node_probe(tmp_path: Path, watchdog: Watchdog) -> None:
    watchdog.start()
    time.sleep(4)  # the probe is up
    pid = os.fork()
    if pid == 0:  # continues its parent, which cannot do it for itself
        time.sleep(6)
        os.kill(os.getppid(), signal.SIGCONT)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGSTOP)
    os.waitpid(pid, 0)
    frozen = _await(tmp_path, "frozen")
    assert (frozen["who"], frozen["pid"]) == ("driver", os.getpid())
    assert "test_a_stopped_driver" in frozen["stack"]


def test_a_frozen_node_probe_does_not_blind_the_watchdog(
    tmp_path: Path, watchdog: Watchdog
) -> None:
    watchdog.start()
    [probe] = watchdog._probes.values()
    pid = ray.get(probe.location.remote(), timeout=60).process.pid
    time.sleep(1)
    os.kill(pid, signal.SIGSTOP)
    assert _await(tmp_path, "frozen")["who"].startswith("probe on ")
    assert _await(tmp_path, "frozen")["pid"] == pid


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_rays_own_processes_are_named_and_left_alone(
    tmp_path: Path, watchdog: Watchdog, name: str
) -> None:
    from medray.actors.supervision.ray_daemons import local_daemons

    watchdog.start()
    time.sleep(2)
    pid = local_daemons()[name].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        frozen = _await(tmp_path, "frozen")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (frozen["who"], frozen["pid"]) == (name, pid)
    assert ray.get(ray.remote(lambda: 1).options(num_cpus=0).remote(), timeout=60) == 1
