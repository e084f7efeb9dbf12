"""Whoever waits learns of a failure: by name, at once, every time; and who is silent is known by its silence alone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from medray.actors.collector import Collector
from medray.actors.groups import TrainItem
from medray.actors.scoring.on_ranks import RankRewards
from medray.actors.scoring.reward_pool import RewardPool
from medray.actors.scoring.reward_pools import RewardPools
from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.config.ppo import PpoJob
from medray.data.batches.stream import PromptStream
from medray.errors import DeadlineExceeded, GraderError, LogprobMismatchError, MedrayError
from medray.evaluation.held_out import Evaluator
from medray.training.asynchronous import AsynchronousSource
from medray.training.sampling import PromptSource, estimate_batch, train_spec
from tests.support.scripted_ray import ScriptedRay
from tests.support.scripted_workers import Fate, Plant, Script, ScriptedGrader, prompts

pytestmark = pytest.mark.timeout(60)

POOLS = {"rollout": {"count": 2}, "grader": {"count": 1}}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> ScriptedRay:
    return ScriptedRay().install(monkeypatch)


def _job(max_lag: int | None = None, **changes: Any) -> GrpoJob:
    settings: dict[str, Any] = {
        "num_steps": 4,
        "rollout": {"prompts_per_step": 4, "samples_per_prompt": 2, "max_lag": max_lag},
        "workers": POOLS,
        "deadlines": {"grade_s": 60},
    }
    return GrpoJob.model_validate(settings | changes)


def _well(actor: str, method: str, about: str) -> Fate:
    return "well"


def _start(ray: ScriptedRay, job: GrpoJob, script: Script, **options: Any) -> tuple[Plant, Workers]:
    plant = Plant(ray, script)
    workers = plant.workers(job, **options)
    workers.wait_ready()
    workers.sync(0)
    return plant, workers


def _waits(job: GrpoJob, workers: Workers, source: Any) -> dict[str, Any]:
    """Every wait of a run, by name."""
    two = prompts(2, 900)
    groups = workers.collector
    return {
        "batch": source.next_groups,
        "weights": lambda: workers.sync(9),
        "pool": lambda: workers.rollouts.load(workers.learners.publish(10)),
        "update": lambda: workers.update([], [], place=9),
        "evaluation": Evaluator(job, groups, two),
        "collect": lambda: groups.collect(two, [0, 0], train_spec(job)),
        "poll": lambda: groups.poll(0.1),
        "checkpoint": lambda: workers.save(9, {}),
        "records": workers.finish_records,
    }


def test_weights_that_fail_their_probe_end_every_wait(ray: ScriptedRay) -> None:
    """The thread that samples ahead meets the failure of version 1; the loop's waits raise it, each and twice."""
    job = _job(max_lag=1)
    loads: list[str] = []

    def script(actor: str, method: str, about: str) -> Fate:
        if method == "load":
            loads.append(actor)
        return "raise" if method == "load" and len(loads) > 2 else "well"

    plant, workers = _start(ray, job, script)
    stream = PromptStream(prompts(100), job.seed)
    with AsynchronousSource(job, workers.collector, stream) as source:
        source.on_new_weights(0)
        source.next_groups()
        workers.sync(1)
        source._thread.join(timeout=20)
        assert not source._thread.is_alive(), "the failure ends the thread"
        asked = ray.now
        waits = _waits(job, workers, source)
        for name, wait in [*waits.items(), *waits.items()]:
            with pytest.raises(LogprobMismatchError, match=r"weight sync 1: rollout-\d differs"):
                wait()
            assert ray.now - asked < 1, name
    assert plant.updates == []


def test_a_failure_counts_although_a_batch_is_ready(ray: ScriptedRay) -> None:
    job = _job(max_lag=2, grading={"retries": 0})

    is_broken = threading.Event()

    def script(actor: str, method: str, about: str) -> Fate:
        return "raise" if method == "score" and is_broken.is_set() else "well"

    _, workers = _start(ray, job, script)
    stream = PromptStream(prompts(100), job.seed)
    with AsynchronousSource(job, workers.collector, stream) as source:
        source.on_new_weights(0)
        source.next_groups()
        while source._num_ready < 8:
            ray.sleep(0.5)
        is_broken.set()
        source.on_new_weights(1)
        source._thread.join(timeout=20)
        assert source._may_do, "the next batch is ready"
        for _ in range(2):
            with pytest.raises(GraderError, match=r"reward grader-0 on prompt p\d+ raised OSError"):
                source.next_groups()


@pytest.mark.parametrize("wait", ["evaluation", "remax"])
def test_a_judge_that_fails_ends_an_evaluation_and_greedy_responses(
    ray: ScriptedRay, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    """The judge fails once, and the thread that samples ahead meets that, whose group it ever was."""
    algorithm = {"kind": "remax"} if wait == "remax" else {}
    job = _job(
        max_lag=1, algorithm=algorithm, rewards=[{"kind": "text"}, {"kind": "model"}],
        grading={"retries": 0},
    )  # fmt: skip
    is_broken = threading.Event()

    def script(actor: str, method: str, about: str) -> Fate:
        if actor == "reward-0" and method == "score" and is_broken.is_set():
            is_broken.clear()
            return "raise"
        return "well"

    _, workers = _start(ray, job, script, judges=1)
    stream = PromptStream(prompts(100), job.seed)
    with AsynchronousSource(job, workers.collector, stream) as source:
        source.on_new_weights(0)
        sampled = source.next_groups()
        poll = workers.collector.poll

        def poll_second(timeout_s: float) -> None:
            if ray.may_turn:
                source._thread.join(timeout=20)
            poll(timeout_s)

        monkeypatch.setattr(workers.collector, "poll", poll_second)
        is_broken.set()
        waits = {
            "remax": lambda: estimate_batch(job, sampled, workers.collector),
            "evaluation": Evaluator(job, workers.collector, prompts(8, 500)),
        }
        with pytest.raises(GraderError, match=r"reward reward-0 on prompt p\d+ raised"):
            waits[wait]()
        with pytest.raises(GraderError, match="reward reward-0"):
            source.next_groups()


def test_an_update_is_not_waited_for_once_the_run_has_failed(ray: ScriptedRay) -> None:
    job = _job(max_lag=1, grading={"retries": 0})
    is_broken = threading.Event()

    def script(actor: str, method: str, about: str) -> Fate:
        if method == "update":
            is_broken.set()
            return "late"
        return "raise" if method == "score" and is_broken.is_set() else "well"

    plant, workers = _start(ray, job, script)
    plant.late_s = 1500
    stream = PromptStream(prompts(100), job.seed)
    with AsynchronousSource(job, workers.collector, stream) as source:
        source.on_new_weights(0)
        groups = source.next_groups().groups
        items = [TrainItem.of(group, np.zeros(2, np.float32)) for group in groups]
        with pytest.raises(GraderError, match="reward grader-0 on prompt"):
            workers.update(items, [group.meta for group in groups], place=0)
    assert ray.now - plant.updates[0] < 60
    with pytest.raises(GraderError, match="reward grader-0 on prompt"):
        workers.update([], [], place=9)
    assert len(plant.updates) == 1


@pytest.mark.parametrize("hung", ["grader-0", "reward-0"])
def test_a_hung_grader_shows_after_one_silence_however_much_is_queued(
    ray: ScriptedRay, hung: str
) -> None:
    """It hangs on the fifth of sixteen groups; four are graded, and the fifth is named with its reward and key."""
    rewards = [{"kind": "text"}, {"kind": "model"}]
    job = _job(rewards=rewards, deadlines={"grade_s": 60})
    began: list[tuple[float, str]] = []

    def script(actor: str, method: str, about: str) -> Fate:
        if actor == hung and method == "score":
            began.append((ray.now, about))
            return "hang" if len(began) == 5 else "well"
        return "well"

    _, workers = _start(ray, job, script, judges=1)
    with pytest.raises(DeadlineExceeded) as late:
        workers.collector.collect(prompts(16), [0] * 16, train_spec(job))
    at, prompt_id = began[4]
    assert 60 <= ray.now - at < 63
    kind = "text" if hung == "grader-0" else "model"
    assert str(late.value) == (
        f"grade: no answer from {hung} (prompt {prompt_id}, reward {kind}) for 60 s (deadlines.grade_s)"
    )
    assert late.value.late == (hung,)


def test_a_slow_grader_is_not_late_for_what_is_queued(ray: ScriptedRay) -> None:
    """Ten groups of 50 s each take eight minutes at a limit of one minute."""
    job = _job()
    slow: Script = lambda actor, method, about: "late" if method == "score" else "well"  # noqa: E731
    plant, workers = _start(ray, job, slow)
    plant.late_s = 50
    assert len(workers.collector.collect(prompts(10), [0] * 10, train_spec(job))) == 10
    assert ray.now > 500


def test_reference_passes_that_queue_are_not_late_and_a_hung_rank_is_named(
    ray: ScriptedRay,
) -> None:
    job = _job(algorithm={"kl": {"coef": 0.1}}, deadlines={"update_s": 60})

    def script(actor: str, method: str, about: str) -> Fate:
        return "late" if method == "reference_logprobs" else "well"

    _, workers = _start(ray, job, script)
    assert len(workers.collector.collect(prompts(10), [0] * 10, train_spec(job))) == 10
    hang: Script = lambda a, m, _: "hang" if m == "reference_logprobs" else "well"  # noqa: E731
    _, workers = _start(ray, job, hang)
    expected = (
        r"reference: no answer from learner rank 0 \(prompt p\d\) for 60 s \(deadlines.update_s\)"
    )
    with pytest.raises(DeadlineExceeded, match=expected):
        workers.collector.collect(prompts(4), [0] * 4, train_spec(job))


def test_weights_that_hang_at_one_worker_are_named_while_others_sample(ray: ScriptedRay) -> None:
    job = _job(max_lag=1, num_steps=1000, deadlines={"sync_s": 30})
    loads: list[str] = []

    def script(actor: str, method: str, about: str) -> Fate:
        if method == "load":
            loads.append(actor)
        return "hang" if method == "load" and len(loads) == 4 else "well"

    _, workers = _start(ray, job, script)
    stream = PromptStream(prompts(100), job.seed)
    with AsynchronousSource(job, workers.collector, stream) as source:
        source.on_new_weights(0)
        source.next_groups()
        workers.sync(1)
        source.on_new_weights(1)
        text = r"weight sync 1: no answer from rollout-1 within 30 s \(deadlines.sync_s\)"
        with pytest.raises(DeadlineExceeded, match=text):
            _sample_on(source)


def _sample_on(source: AsynchronousSource) -> None:
    while True:
        source.next_groups()
        source.on_new_weights(source.version)


def _deadly(prompt_id: str) -> Script:
    def script(actor: str, method: str, about: str) -> Fate:
        return "die" if method == "score" and about == prompt_id else "well"

    return script


@pytest.mark.parametrize("graders", [1, 2])
def test_a_reward_that_ends_its_process_is_named_after_three_deaths(
    ray: ScriptedRay, tmp_path: Path, graders: int
) -> None:
    job = _job(workers=POOLS | {"grader": {"count": graders}}, rewards=[{"kind": "text"}])
    plant, workers = _start(ray, job, _deadly("p5"), folder=tmp_path)
    with pytest.raises(
        GraderError, match=r"^3 graders died while they graded prompt p5, reward text: grade: grad"
    ):
        workers.collector.collect(prompts(16), [0] * 16, train_spec(job))
    assert sum(plant.spawned[f"grader-{i}"] for i in range(graders)) == graders + 2
    assert workers.incidents.drain() == {"incidents/death": 2.0}


def test_a_reward_that_ends_its_process_costs_its_group_where_asked(ray: ScriptedRay) -> None:
    job = _job(grading={"on_failure": "drop"})
    plant, workers = _start(ray, job, _deadly("p5"))
    found = workers.collector.collect(prompts(16), [0] * 16, train_spec(job))
    assert [g.prompt.record.id for g in found] == [f"p{i}" for i in range(16) if i != 5]
    assert workers.incidents.drain() == {"incidents/death": 3.0, "incidents/drop": 1.0}
    assert plant.spawned["grader-0"] == 4


@pytest.mark.parametrize("on_failure", ["stop", "drop"])
def test_reward_models_on_the_learners_ranks_drop_a_group_too(
    ray: ScriptedRay, on_failure: str
) -> None:
    """`roles.layout=shared`: the ranks score, and the plug-ins of the grader pool beside them."""
    script: Script = lambda a, m, about: "raise" if (a, about) == ("rank", "p2") else "well"  # noqa: E731
    job = _job(grading={"on_failure": on_failure})
    plant, workers = _start(ray, job, script)
    ranks = [ScriptedGrader(ray, "rank", plant) for _ in range(2)]
    models = RankRewards(ranks, cast(PpoJob, job), workers.incidents)
    graders = RewardPools(cast(RewardPool, workers.graders), models)
    collector = Collector(workers.rollouts, graders, None, job.deadlines)
    if on_failure == "stop":
        with pytest.raises(GraderError, match="reward rank on prompt p2 raised"):
            collector.collect(prompts(4), [0] * 4, train_spec(job))
        return
    found = collector.collect(prompts(4), [0] * 4, train_spec(job))
    assert [g.prompt.record.id for g in found] == ["p0", "p1", "p3"]
    assert [g.score.rewards for g in found] == [(2.0, 0.0)] * 3
    assert workers.incidents.drain() == {"incidents/drop": 1.0}


def test_a_grader_that_cannot_start_again_says_so(ray: ScriptedRay) -> None:
    def script(actor: str, method: str, about: str) -> Fate:
        if actor == "grader-0" and method == "start" and plant and plant[0].spawned[actor] > 1:
            return "hang"
        return "die" if method == "score" and about == "p1" else "well"

    plant: list[Plant] = []
    job = _job(deadlines={"start_s": 100})
    made, workers = _start(ray, job, script)
    plant.append(made)
    with pytest.raises(
        DeadlineExceeded,
        match=r"^start: no answer from grader-0 for 100 s \(deadlines.start_s\)$",
    ):
        workers.collector.collect(prompts(4), [0] * 4, train_spec(job))


def test_no_message_has_an_empty_name(ray: ScriptedRay) -> None:
    """All workers failed to take the weights, and nothing is on its way to them."""
    job = _job(deadlines={"start_s": 20})
    _, workers = _start(ray, job, _well)
    for worker in workers.rollouts.workers:
        worker.state = type(worker.state).STALE
    with pytest.raises(
        DeadlineExceeded, match=r"no answer from rollout-0 \(stale\), rollout-1 \(stale\) within"
    ):
        workers.rollouts._await_loads()


def test_synchronous_runs_raise_again_what_they_met(ray: ScriptedRay) -> None:
    job = _job(grading={"retries": 0})
    _, workers = _start(ray, job, lambda a, m, _: "raise" if m == "score" else "well")
    source = PromptSource(job, workers.collector, PromptStream(prompts(9), job.seed))
    for _ in range(2):
        with pytest.raises(GraderError, match="reward grader-0"):
            source.next_groups()
    with pytest.raises(MedrayError, match="reward grader-0"):
        workers.save(1, {})
