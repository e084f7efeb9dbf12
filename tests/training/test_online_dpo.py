"""Online DPO: pairs of the policy's own samples, labelled by reward, in the RL loop."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from medray.actors.groups import GroupHandle
from medray.actors.workers import Workers
from medray.config.online_dpo import OnlineDpoJob
from medray.config.resources import rl_roles
from medray.learners.reference import score_reference
from medray.learners.scorer import Scorer
from medray.models.load import load_policy
from medray.observability.console.plain import PlainConsole
from medray.training.online_dpo import OnlineDpo, pair_of, train_online_dpo
from medray.training.sampling import SampledStep, train_spec
from medray.training.steps import PromptSets, Run
from medray.types import Prompt, Record
from tests.support.fake_workers import FakeWorkers, ListSink
from tests.support.toy_workers import ToyWorkers


class ToyDpoWorkers(ToyWorkers):
    """The toy's policy, and a frozen copy of it as reference."""

    def __init__(self, job: OnlineDpoJob) -> None:
        super().__init__(job)  # type: ignore[arg-type]
        self.frozen = Scorer(load_policy(job.model, seed=job.seed, trainable=False))

    def collect(self, *arguments: Any, reference: bool = True, **keys: Any) -> list[GroupHandle]:
        groups = super().collect(*arguments, reference=reference, **keys)
        for group in groups if reference else []:
            group.reference_kl, group.reference = score_reference(self.frozen, group.tokens, "k3")
        return groups


def _job(**changes: Any) -> OnlineDpoJob:
    base: dict[str, Any] = {
        "num_steps": 2,
        "rollout": {"prompts_per_step": 4, "samples_per_prompt": 4, "max_new_tokens": 6},
        "rewards": [{"kind": "tests.support.rewards:EvenBytes"}],
        "evaluation": {"num_items": 0},
    }
    return OnlineDpoJob.model_validate(base | changes)


def _groups(rewards: list[tuple[float, ...]]) -> list[GroupHandle]:
    prompts = [Prompt(Record(str(i), ()), np.zeros(3, np.int32)) for i in range(len(rewards))]
    script = lambda call, prompt: rewards[int(prompt.record.id)]  # noqa: E731
    return FakeWorkers(script).collect(prompts, [0] * len(prompts), train_spec(_job()))


def test_the_best_and_the_worst_response_are_the_pair() -> None:
    config = _job().algorithm
    groups = _groups([(0.2, 0.9, 0.9, 0.1), (0.5, 0.5, 0.5, 0.5), (1.0, 0.0, 0.0, 1.0)])
    assert [pair_of(group, config) for group in groups] == [(1, 3), None, (0, 1)]
    wide = config.model_copy(update={"pairs": config.pairs.model_copy(update={"min_gap": 0.9})})
    assert [pair_of(group, wide) for group in groups] == [None, None, (0, 1)]
    cut = config.model_copy(update={"mask_truncated": True})
    [group, *_] = groups
    group.on_sampled(group.tokens, replace(group.meta, truncated=(False, True, False, True)))
    assert pair_of(group, cut) == (2, 0)
    group.on_sampled(group.tokens, replace(group.meta, truncated=(True,) * 4))
    assert pair_of(group, cut) is None


def test_a_batch_is_cut_into_steps_and_those_without_pairs_are_skipped() -> None:
    job = _job(algorithm={"minibatches": 2, "epochs": 2})
    groups = _groups([(1.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.0, 1.0), (0.5,) * 4, (0.5,) * 4])
    workers = FakeWorkers(lambda call, prompt: ())
    method = OnlineDpo(job, cast(Workers, workers))
    batch = method.estimate(3, SampledStep(groups))
    method.update(3, batch)
    assert [[i.kept for i in step] for step in workers.updates] == [[(0, 1), (3, 0)]] * 2
    assert workers.places == [8, 10], "the run's steps, those without pairs included"
    _, signs = method.recorded(batch)
    assert [s.tolist() for s in signs][:2] == [[1, -1, 0, 0], [-1, 0, 0, 1]]
    metrics = method.metrics(batch)
    assert (metrics["groups/tied"], metrics["groups/total"]) == (2, 4)
    assert metrics["reward/pair_gap"] == 1.0


@pytest.mark.parametrize("kind", ["sigmoid", "aot"])
def test_reward_rises(tiny_model: Path, kind: str) -> None:
    torch.set_num_threads(1)
    job = _job(
        num_steps=25,
        model={"path": str(tiny_model)},
        optim={"lr": 3e-3},
        rollout={"prompts_per_step": 8, "samples_per_prompt": 8, "max_new_tokens": 6},
        algorithm={"preference": {"kind": kind, "beta": 0.1}},
    )
    rng = np.random.default_rng(0)
    prompts = tuple(
        Prompt(Record(str(i), ()), rng.integers(3, 320, 6).astype(np.int32)) for i in range(16)
    )
    workers, sink = ToyDpoWorkers(job), ListSink()
    run = Run(PromptSets(prompts, ()), sink, PlainConsole(25, io.StringIO()))
    train_online_dpo(job, cast(Workers, workers), run)
    rewards = [metrics["reward/mean"] for metrics in sink.steps.values()]
    assert np.mean(rewards[:3]) == pytest.approx(0.5, abs=0.1), "half of the tokens are even"
    assert np.mean(rewards[-5:]) - np.mean(rewards[:3]) > 0.08
    assert sink.steps[1]["preference/margin"] == pytest.approx(0, abs=1e-5), "the reference itself"
    assert sink.steps[25]["policy/kl_ref_sequence"] > 0


def test_the_reference_has_actors_unless_the_base_is_it() -> None:
    names = lambda job: [role.name for role in rl_roles(job)]  # noqa: E731
    assert "reference" in names(_job())
    assert "reference" not in names(_job(model={"lora": {}}))
    simpo = {"preference": {"kind": "simpo", "beta": 2.0}}
    assert "reference" not in names(_job(algorithm=simpo))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rollout": {"samples_per_prompt": 1}}, "makes no pair"),
        ({"algorithm": {"clip_low": 0.1}}, "clip_low"),
        ({"algorithm": {"preference": {"reference": "separate"}}}, "remove algorithm.preference"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        _job(**changes)
