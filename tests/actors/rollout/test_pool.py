"""The pool over real actors: who gets which group, and what becomes of groups whose worker fails."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray

from medray.actors.groups import GroupHandle
from medray.actors.ray_calls.wait import Ref, gather, ready_of
from medray.actors.rollout.pool import RolloutPool
from medray.actors.supervision.incidents import Incidents
from medray.config.grpo import GrpoJob
from medray.errors import DeadlineExceeded, EnvironmentFailed, RestartBudgetExhausted, WorkerLost
from medray.types import GenerateSpec, SamplingContract
from tests.support.ray_workers import ScriptedRollout, prompt, weights

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

SPEC = GenerateSpec(SamplingContract(), 2, 8)


def _pool(
    folder: Path,
    num_workers: int = 2,
    *,
    load_s: float = 0.0,
    max_lag: int | None = None,
    environment: dict[str, Any] | None = None,
    **changes: Any,
) -> RolloutPool:
    rollout = {
        "samples_per_prompt": 2,
        "engine": {"max_num_seqs": 4},
        "max_lag": max_lag,
        "environment": environment,
    }
    job = GrpoJob.model_validate({"rollout": rollout, "out": str(folder), **changes})
    pool = RolloutPool(
        lambda i: ScriptedRollout.remote(i, load_s), num_workers, job, Incidents(folder)
    )
    gather(pool.start(), deadline_s=60, doing="start")
    pool.load(weights(1))
    return pool


def _sample(pool: RolloutPool, names: list[str], deadline_s: float = 60) -> list[GroupHandle]:
    pool.submit([prompt(n) for n in names], list(range(len(names))), SPEC)
    return _take(pool, len(names), deadline_s)


def _take(pool: RolloutPool, count: int, deadline_s: float = 60) -> list[GroupHandle]:
    found: list[GroupHandle] = []
    end = time.monotonic() + deadline_s
    while len(found) < count:
        found += pool.take(ready_of(pool.refs(), 0.2))
        assert time.monotonic() < end, found
    return found


def test_groups_go_to_whoever_has_least_to_do(tmp_path: Path) -> None:
    """One worker is held up by a slow group; what would have queued behind it goes to the other."""
    found = _sample(_pool(tmp_path), ["slow", *(f"p{i}" for i in range(20))])
    assert len({s.ticket for s in found}) == 21
    by_worker = Counter(s.meta.worker for s in found)
    assert max(by_worker.values()) >= 16, by_worker


def test_seeds_stay_with_their_prompts_whoever_dies(tmp_path: Path) -> None:
    pool = _pool(tmp_path, num_workers=3)
    groups = pool.submit([prompt(f"p{i}") for i in range(12)], list(range(12)), SPEC)
    tickets = [group.ticket for group in groups]
    ray.kill(pool.workers[1].handle)
    found = {s.ticket: s for s in _take(pool, 12)}
    assert sorted(found) == tickets
    for i, ticket in enumerate(tickets):
        group = ray.get(found[ticket].tokens, timeout=10)
        assert group.prompt.record.id == f"p{i}"
        assert group.responses[0].token_ids.tolist() == [i] * 3
    assert "sampled again" in (tmp_path / "incidents.jsonl").read_text()


def test_a_broken_engine_is_replaced_and_a_prompt_that_breaks_engines_is_named(
    tmp_path: Path,
) -> None:
    pool = _pool(tmp_path)
    with pytest.raises(WorkerLost, match=r"3 workers failed with prompt poison-7 in flight.*broke"):
        _sample(pool, ["a", "b", "poison-7", "c"])
    assert pool.incidents.drain()["incidents/death"] == 2


def test_an_environment_that_fails_costs_its_group_a_retry(tmp_path: Path) -> None:
    """Three of twelve groups fail once or twice: the same requests are sampled again, and no worker dies."""
    pool = _pool(tmp_path, num_workers=1, environment={"retries": 2})
    names = [f"p{i}" for i in range(12)]
    names[2], names[5], names[11] = "mute-1", "mute-2", "mute-1"
    found = {group.prompt.record.id: group for group in _sample(pool, names)}
    assert not any(group.is_dropped for group in found.values())
    assert set(found) == set(names)
    tokens = ray.get(found["mute-2"].tokens, timeout=10).responses[0].token_ids
    assert tokens.tolist() == [5] * 3
    assert pool.incidents.drain() == {"incidents/retry": 4.0}


def test_an_environment_that_goes_on_failing_stops_the_run_by_name(tmp_path: Path) -> None:
    pool = _pool(tmp_path, num_workers=1, environment={"retries": 1})
    with pytest.raises(
        EnvironmentFailed, match=r"^environment mine:Own, prompt mute-2: ValueError"
    ):
        _sample(pool, ["a", "mute-2", "b"])


def test_an_environment_that_goes_on_failing_drops_its_group(tmp_path: Path) -> None:
    environment = {"retries": 1, "on_failure": "drop"}
    pool = _pool(tmp_path, num_workers=1, environment=environment)
    found = _sample(pool, ["a", "mute-9", "b"])
    assert [g.prompt.record.id for g in found if g.is_dropped] == ["mute-9"]
    assert pool.incidents.drain() == {"incidents/drop": 1.0, "incidents/retry": 1.0}


def test_restarts_have_a_limit(tmp_path: Path) -> None:
    pool = _pool(tmp_path, workers={"max_restarts": 2})
    with pytest.raises(WorkerLost, match="rollout-"):
        _sample(pool, ["deadly"])
    assert pool.restarts.left == 0


def _starting(folder: Path, **workers: Any) -> tuple[RolloutPool, dict[str, Ref]]:
    """A pool whose workers load for a second; the first of them is killed meanwhile."""
    job = GrpoJob.model_validate({"out": str(folder), "workers": workers})
    pool = RolloutPool(lambda i: ScriptedRollout.remote(i, 0, 1), 2, job, Incidents(folder))
    starting = pool.start()
    ray.kill(pool.handles["rollout-0"])
    return pool, starting


def _revive(pool: RolloutPool, name: str, loss: WorkerLost) -> Ref:
    started = pool.revive(name, loss)
    assert started is not None
    return started


def test_a_worker_that_dies_while_it_starts_is_replaced(tmp_path: Path) -> None:
    pool, starting = _starting(tmp_path)
    started = gather(starting, deadline_s=60, doing="start", revive=partial(_revive, pool))
    assert [said.text for said in started.values()] == ["rollout-0", "rollout-1"]

    pool.load(weights(1))

    assert sorted(pool.handles) == ["rollout-0", "rollout-1"]
    assert len(_sample(pool, ["a", "b", "c"])) == 3
    lines = pool.incidents.path.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(r["kind"], r["who"], r["doing"]) for r in rows] == [
        ("death", "rollout-0", "start"),
        ("restart", "rollout-0", "weights 1"),
    ]


def test_a_start_ends_when_no_more_workers_may_be_replaced(tmp_path: Path) -> None:
    pool, starting = _starting(tmp_path, max_restarts=0)
    with pytest.raises(
        RestartBudgetExhausted,
        match=r"start: rollout-0 died.*restarted 0 times \(workers.max_restarts\)",
    ):
        gather(starting, deadline_s=60, doing="start", revive=partial(_revive, pool))
    [line] = pool.incidents.path.read_text().splitlines()
    assert (
        json.loads(line).items()
        >= {"who": "rollout-0", "doing": "start", "cost": "the run"}.items()
    )


def test_weights_in_flight_keep_nobody_waiting(tmp_path: Path) -> None:
    pool = _pool(tmp_path, load_s=1.5, max_lag=1)
    began = time.monotonic()
    gap = pool.load(weights(2))
    assert time.monotonic() - began < 1
    assert gap == pytest.approx(1e-6), "that of version 1"
    assert pool.load(weights(3)) == pytest.approx(2e-6), "one version is on its way at a time"
    [sampled] = _sample(pool, ["late"])
    assert sampled.meta.policy_version == 3


def test_a_group_that_waits_at_its_worker_grows_no_older(tmp_path: Path) -> None:
    pool = _pool(tmp_path, num_workers=1, max_lag=1)
    slow, *waiting = pool.submit([prompt(n) for n in ("slow", "a", "b")], [0, 1, 2], SPEC)
    ray.wait([pool.handles["rollout-0"].start.remote()], timeout=10)  # it has begun on the first
    pool.load(weights(2))
    pool.load(weights(3))  # once the second version is there

    assert [pool.oldest_version(group.ticket) for group in (slow, *waiting)] == [1, 2, 2]
    assert {s.ticket: s.meta.policy_version for s in _take(pool, 3)}[waiting[-1].ticket] == 3


def test_a_late_worker_is_named(tmp_path: Path) -> None:
    pool = _pool(tmp_path, deadlines={"generate_s": 1})
    with pytest.raises(
        DeadlineExceeded, match=r"no group from rollout-0 \(1 prompts\) for 1 s"
    ) as late:
        _sample(pool, ["slow"])
    assert late.value.late == ("rollout-0",)


def test_workers_that_go_on_completing_groups_are_not_late(tmp_path: Path) -> None:
    """Thirty groups of 50 ms at one worker outlast the deadline of one second together, none alone."""
    pool = _pool(tmp_path, num_workers=1, deadlines={"generate_s": 1})
    began = time.monotonic()
    assert len(_sample(pool, [f"p{i}" for i in range(30)])) == 30
    assert time.monotonic() - began > 1.5


@pytest.mark.slow
def test_a_replacement_has_its_own_time_to_start(tmp_path: Path) -> None:
    """A death that shows only after most of a start's time has been waited for a load."""
    job = GrpoJob.model_validate({"out": str(tmp_path), "deadlines": {"start_s": 12}})
    pool = RolloutPool(lambda i: ScriptedRollout.remote(i, 10, 5), 1, job, Incidents(tmp_path))
    gather(pool.start(), deadline_s=60, doing="start")
    pool.load(weights(1))
    [handle] = pool.handles.values()
    death = threading.Timer(9, ray.kill, [handle])
    death.start()

    assert pool.load(weights(2)) == pytest.approx(2e-6)

    kinds = [json.loads(line)["kind"] for line in pool.incidents.path.read_text().splitlines()]
    assert kinds == ["death", "restart"]
