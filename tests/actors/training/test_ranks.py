"""Real Ray actors: ranks of the learner agree, waits end, failures keep their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from medray.actors.cluster.placement import reserve
from medray.actors.groups import GroupHandle, TrainItem
from medray.actors.ray_calls.wait import gather
from medray.actors.scoring.reward_actor import RewardActor
from medray.actors.scoring.reward_pool import RewardPool
from medray.actors.supervision.incidents import Incidents
from medray.actors.training.learner import LearnerActor
from medray.actors.training.learner_group import LearnerGroup
from medray.actors.weights.publish import arrays
from medray.config.grpo import GrpoJob
from medray.config.resources import rl_roles
from medray.errors import DeadlineExceeded, GraderError, ResourceError, WorkerLost
from medray.types import GroupMeta, RolloutGroup
from tests.support.groups import random_groups, sampled
from tests.support.jobs import tiny_job

pytestmark = pytest.mark.ray


OLD_PASS = {"correction": {"kind": "tis"}, "epochs": 2, "clip_high": 0.01}


def _meta(group: RolloutGroup) -> GroupMeta:
    lengths = tuple(len(r.token_ids) for r in group.responses)
    return GroupMeta(group.prompt.record.id, len(group.prompt.token_ids), lengths, 0, 0, "")


@contextmanager
def _learners(job: GrpoJob, ranks: int) -> Iterator[LearnerGroup]:
    group = job.workers.learner.model_copy(update={"count": ranks})
    workers = job.workers.model_copy(update={"learner": group})
    job = job.model_copy(update={"workers": workers})
    actors = [LearnerActor.options(num_cpus=0.5).remote(job, r) for r in range(ranks)]
    address = actors[0].rendezvous.remote()
    gather(
        {str(r): a.start.remote(address, None) for r, a in enumerate(actors)},
        deadline_s=200,
        doing="start",
    )
    try:
        yield LearnerGroup(actors, job)
    finally:
        for actor in actors:
            ray.kill(actor)


def _update(learners: LearnerGroup, job: GrpoJob) -> dict[str, float]:
    groups = random_groups(5)
    advantages = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    refs = [ray.put(group) for group in groups]
    old = learners.old_logprobs(refs) if job.algorithm.needs_old_pass else [None] * len(refs)
    items = [TrainItem(r, a, None, o) for r, a, o in zip(refs, advantages, old, strict=True)]
    values = {}
    for step in range(2):  # the second step sees weights that the first one moved
        values |= {
            f"{k}#{step}": v
            for k, v in learners.update(items, [_meta(g) for g in groups], step).values().items()
        }
    return values


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    ("algorithm", "strategy"),
    [
        ({}, "auto"),
        (OLD_PASS, "auto"),
        (OLD_PASS, "fsdp2"),
        pytest.param(OLD_PASS, "zero3", marks=pytest.mark.slow),
    ],
)
def test_two_ranks_take_the_step_of_one(
    tiny_model: Path, tmp_path: Path, algorithm: dict[str, Any], strategy: str
) -> None:
    job = tiny_job(tiny_model, tmp_path, algorithm=algorithm, learner={"strategy": strategy})
    with _learners(tiny_job(tiny_model, tmp_path, algorithm=algorithm), 1) as learners:
        one, expected = _update(learners, job), dict(arrays(learners.publish(2), deadline_s=60))
    with _learners(job, 2) as learners:
        two, published = _update(learners, job), learners.publish(2)
        folder = Path(learners.save(2, {}))
    found = dict(arrays(published, deadline_s=60))
    assert found.keys() == expected.keys() == published.manifest.tensors.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=2e-5, err_msg=name)
    assert {"model.safetensors", "trainer_state.json"} <= {p.name for p in folder.iterdir()}
    assert one.keys() == two.keys()
    assert one["loss/total#0"] != one["loss/total#1"]
    for name in one:
        assert two[name] == pytest.approx(one[name], rel=1e-5, abs=1e-7), name
    if algorithm:  # scored before the first step, so the ratio to the old policy is 1 in it only
        assert one["policy/ratio#0"] == pytest.approx(1, abs=1e-5)
        assert abs(one["policy/ratio#1"] - 1) > 1e-4
        assert one["policy/correction_weight#0"] == one["policy/correction_weight#1"]


@pytest.mark.usefixtures("ray_here")
def test_a_late_actor_is_named(tiny_model: Path, tmp_path: Path) -> None:
    job = tiny_job(tiny_model, tmp_path, rewards=[{"kind": "tests.support.rewards:Slow"}])
    grader = RewardActor.options(num_cpus=0).remote(job, 0)
    gather({"grader": grader.start.remote()}, deadline_s=60, doing="start")
    with pytest.raises(
        DeadlineExceeded, match=r"grade: no answer from grader of prompt 0 within 2 s"
    ):
        gather(
            {"grader of prompt 0": grader.score.remote(random_groups(1)[0])},
            deadline_s=2,
            doing="grade",
        )
    ray.kill(grader)


def _graders(job: GrpoJob, folder: Path) -> RewardPool:
    def spawn(index: int) -> Any:
        actor = RewardActor.options(num_cpus=0).remote(job, index)
        actor.start.remote()
        return actor

    return RewardPool(spawn, 2, job, Incidents(folder))


def _sampled(groups: Sequence[RolloutGroup]) -> list[GroupHandle]:
    return [sampled(i, group, ray.put(group)) for i, group in enumerate(groups)]


@pytest.mark.usefixtures("ray_here")
def test_a_broken_grader_is_an_error_and_never_a_reward(tiny_model: Path, tmp_path: Path) -> None:
    job = tiny_job(tiny_model, tmp_path, rewards=[{"kind": "tests.support.rewards:Broken"}])
    pool = _graders(job, tmp_path)
    pool.submit(_sampled(random_groups(1)))
    with pytest.raises(GraderError, match="grader unreachable"):
        pool.results()
    assert pool.incidents.drain() == {"incidents/retry": 2.0}


@pytest.mark.usefixtures("ray_here")
def test_a_group_that_cannot_be_graded_is_dropped_and_counted_where_asked(
    tiny_model: Path, tmp_path: Path
) -> None:
    job = tiny_job(
        tiny_model, tmp_path, rewards=[{"kind": "tests.support.rewards:BrokenForEven"}],
        grading={"retries": 1, "on_failure": "drop"},
    )  # fmt: skip
    pool = _graders(job, tmp_path)
    pool.submit(_sampled(random_groups(4)))
    assert [i for i, score in sorted(pool.results().items()) if score is not None] == [1, 3]
    assert pool.incidents.drain() == {"incidents/drop": 2.0, "incidents/retry": 2.0}


@pytest.mark.usefixtures("ray_here")
def test_a_killed_grader_is_replaced_and_its_groups_are_graded_once_each(
    tiny_model: Path, tmp_path: Path
) -> None:
    job = tiny_job(tiny_model, tmp_path)
    pool = _graders(job, tmp_path)
    groups = random_groups(6)
    ray.kill(pool.graders[1].handle)
    pool.submit(_sampled(groups))
    scores = pool.results()
    assert sorted(scores) == list(range(6))
    assert pool.restarts.left == job.workers.max_restarts - 1
    assert "graded again" in (tmp_path / "incidents.jsonl").read_text()


@pytest.mark.usefixtures("ray_here")
def test_a_grader_that_dies_while_it_starts_is_replaced(tiny_model: Path, tmp_path: Path) -> None:
    job = tiny_job(tiny_model, tmp_path)
    pool = _graders(job, tmp_path)
    ray.kill(pool.graders[1].handle)
    loss = WorkerLost("start: grader-1 died")

    assert pool.revive("rollout-1", loss) is None
    started = pool.revive("grader-1", loss)

    assert gather({"grader-1": started}, deadline_s=60, doing="start")["grader-1"].text == "grader"
    pool.submit(_sampled(random_groups(4)))
    assert sorted(pool.results()) == list(range(4))
    assert pool.restarts.left == job.workers.max_restarts - 1
    assert '"start"' in (tmp_path / "incidents.jsonl").read_text()


@pytest.mark.usefixtures("ray_here")
def test_a_dead_actor_is_named(tiny_model: Path, tmp_path: Path) -> None:
    grader: Any = RewardActor.options(num_cpus=0).remote(tiny_job(tiny_model, tmp_path), 0)
    gather({"grader": grader.start.remote()}, deadline_s=60, doing="start")
    ray.kill(grader)
    with pytest.raises(WorkerLost, match="grade: grader-0 died"):
        gather({"grader-0": grader.score.remote(random_groups(1)[0])}, deadline_s=60, doing="grade")


@pytest.mark.usefixtures("ray_here")
def test_a_job_too_large_for_the_cluster_says_what_is_lacking(
    tiny_model: Path, tmp_path: Path
) -> None:
    workers = {"learner": {"count": 4, "cpus": 2, "gpus": 1}}
    job = tiny_job(tiny_model, tmp_path, workers=workers)
    with pytest.raises(ResourceError, match=r"CPU \(needs 9.1, has 3\), GPU \(needs 4, has 0\)"):
        reserve(rl_roles(job), spread=False, deadline_s=5)
