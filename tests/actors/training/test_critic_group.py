"""The critic's ranks as real Ray actors: how many there are changes neither estimates nor steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ray

from medray.actors.groups import TrainItem
from medray.actors.ray_calls.wait import gather
from medray.actors.training.critic import CriticActor
from medray.actors.training.critic_group import CriticGroup
from medray.actors.training.learner_group import merged_meters
from medray.config.learner import LearnerConfig, StrategyName
from medray.config.ppo import PpoJob
from medray.types import GroupMeta, GroupScore, Prompt, Record, Response, RolloutGroup
from tests.support.groups import scored as scored_handle
from tests.support.jobs import tiny_settings

pytestmark = pytest.mark.ray


def _group(index: int) -> RolloutGroup:
    rng = np.random.default_rng(index)

    def response() -> Response:
        size = int(rng.integers(1, 12))
        ids = rng.integers(3, 300, size).astype(np.int32)
        return Response(ids, rng.normal(-5.5, 0.2, size).astype(np.float32), "", "length")

    prompt = Prompt(Record(str(index), ()), rng.integers(3, 300, 5 + index).astype(np.int32))
    return RolloutGroup(prompt, (response(), response()), 0)


def _metrics(job: PpoJob, num_ranks: int) -> dict[str, float]:
    critic = job.workers.critic.model_copy(update={"count": num_ranks})
    workers = job.workers.model_copy(update={"critic": critic})
    job = job.model_copy(update={"workers": workers})
    ranks = [CriticActor.options(num_cpus=0.5).remote(job, r) for r in range(num_ranks)]
    address = ranks[0].rendezvous.remote()
    starts = {str(r): a.start.remote(address, None) for r, a in enumerate(ranks)}
    gather(starts, deadline_s=200, doing="start")
    critics = CriticGroup(ranks, job)
    scored = []
    for i in range(5):
        group = _group(i)
        lengths = tuple(len(r.token_ids) for r in group.responses)
        meta = GroupMeta(str(i), len(group.prompt.token_ids), lengths, 0, 0, "")
        ref = ray.put(group)
        known = GroupScore((float(i), 1.0))
        handle = scored_handle(group.prompt, meta, known, ref)
        handle.values = critics.values(i, ref)
        scored.append(handle)
    found: dict[str, float] = {}
    for step in range(2):  # the second step sees a critic that the first one moved
        scores = [np.asarray(s.score.rewards, dtype=np.float32) for s in scored]
        summaries, estimates = critics.estimate(scored, scores, 0.0)
        items = [TrainItem(s.tokens, estimates=e) for s, e in zip(scored, estimates, strict=True)]
        calls = critics.fit_calls(items, [s.meta for s in scored], step)
        metrics = merged_meters(calls, job.deadlines).values()
        metrics["advantage"] = sum(s.advantages.mean for s in summaries)
        found |= {f"{name}#{step}": value for name, value in metrics.items()}
    for actor in ranks:
        ray.kill(actor)
    return found


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("strategy", ["auto", "fsdp2"])
def test_two_ranks_take_the_step_of_one(
    tiny_model: Path, tmp_path: Path, strategy: StrategyName
) -> None:
    settings = tiny_settings(tiny_model, tmp_path, critic={"optim": {"lr": 1e-2}})
    job = PpoJob.model_validate(settings | {"algorithm": {"kl": {"coef": 0.0}}})
    spread = job.model_copy(update={"learner": LearnerConfig(strategy=strategy)})
    one, two = _metrics(job, 1), _metrics(spread, 2)
    assert one.keys() == two.keys()
    assert one["value/squared_error#1"] < one["value/squared_error#0"]
    assert one["critic/grad_norm#0"] > 0
    for name in one:
        assert two[name] == pytest.approx(one[name], rel=1e-5, abs=1e-6), name
