"""Every algorithm raises the reward of a tiny model: the real driver and learner, in one process."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.observability.console.plain import PlainConsole
from medray.training.grpo import train_grpo
from medray.training.steps import PromptSets, Run
from medray.types import Prompt, Record
from tests.support.algorithms import REWARDED
from tests.support.fake_workers import ListSink
from tests.support.tiny import save_tiny_model
from tests.support.toy_workers import ToyWorkers

CORRECTED = {
    kind: {"correction": {"kind": kind} | bounds, "minibatches": 2}
    for kind, bounds in (("tis", {}), ("icepop", {}), ("sequence_mask", {"low": 0.9, "high": 1.1}))
}

STEPS = {
    "remax": 45
}  # the reward of one greedy response is a noisier baseline than a mean of eight
KEYS = {"pass_at_k": {"threshold": 0.7}}
"""A third of the responses are above 0.5 at the start: nearly every subset of four has one, and no signal is left."""


def _train(
    model: Path,
    algorithm: dict[str, Any],
    *,
    num_steps: int = 25,
    num_samples: int = 8,
    mismatch_nats: float = 0.0,
) -> tuple[ToyWorkers, ListSink]:
    job = GrpoJob.model_validate(
        {
            "num_steps": num_steps,
            "model": {"path": str(model)},
            "rollout": {
                "prompts_per_step": 4,
                "samples_per_prompt": num_samples,
                "max_new_tokens": 6,
            },
            "evaluation": {"num_items": 0},
            "rewards": [{"kind": "tests.support.rewards:EvenBytes"}],
            "optim": {"lr": 3e-3},
            "algorithm": algorithm,
        }
    )
    rng = np.random.default_rng(0)
    prompts = tuple(
        Prompt(Record(str(i), ()), rng.integers(3, 320, 6).astype(np.int32)) for i in range(16)
    )
    workers, sink = ToyWorkers(job), ListSink()
    workers.mismatch_nats = mismatch_nats
    console = PlainConsole(num_steps, io.StringIO())
    train_grpo(job, cast(Workers, workers), Run(PromptSets(prompts, ()), sink, console))
    return workers, sink


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _rise(sink: ListSink) -> float:
    rewards = [metrics["reward/mean"] for metrics in sink.steps.values()]
    assert np.mean(rewards[:3]) == pytest.approx(0.5, abs=0.1), "half of the tokens are even"
    return float(np.mean(rewards[-5:]) - np.mean(rewards[:3]))


@pytest.mark.parametrize("kind", REWARDED)
def test_reward_rises(tiny_model: Path, kind: str) -> None:
    algorithm = {"kind": kind} | KEYS.get(kind, {})
    workers, sink = _train(tiny_model, algorithm, num_steps=STEPS.get(kind, 25))
    assert _rise(sink) > 0.08
    assert workers.num_old_passes == 0
    assert all(m["policy/max_logprob_gap"] < 1e-4 for m in sink.steps.values()), "on-policy"


@pytest.mark.parametrize("kind", CORRECTED)
def test_reward_rises_under_an_engine_that_is_off_by_a_tenth_of_a_nat(
    tiny_model: Path, kind: str
) -> None:
    workers, sink = _train(tiny_model, CORRECTED[kind], mismatch_nats=0.1)
    assert _rise(sink) > 0.08
    assert workers.num_old_passes == 25 * 4
    weights = [m["policy/correction_weight"] for m in sink.steps.values()]
    if kind == "sequence_mask":
        assert 0.9 < np.mean(weights) < 1  # mean ratio of 6 tokens: deviation 0.04, bounds 0.1
    else:
        assert np.mean(weights) == pytest.approx(np.exp(0.005), abs=0.01)  # mean of exp(N(0, 0.1))


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd"])
def test_the_student_comes_near_its_teacher(
    tiny_model: Path, tmp_path: Path, divergence: str
) -> None:
    teacher = save_tiny_model(tmp_path / "teacher", seed=1)
    distill = {"teacher": {"path": str(teacher)}, "divergence": divergence}
    _, sink = _train(tiny_model, {"kind": "distill", "distill": distill})
    gaps = [metrics["distill/divergence"] for metrics in sink.steps.values()]
    assert np.mean(gaps[-3:]) < 0.8 * np.mean(gaps[:3])


def test_a_policy_loss_beside_a_teacher_raises_the_reward_and_stays_nearer(
    tiny_model: Path,
) -> None:
    """The teacher is the student as it began, so its divergence is the price of the reward."""
    distill = {"teacher": {"path": str(tiny_model)}, "coef": 0.5}
    _, free = _train(tiny_model, {"distill": {**distill, "coef": 1e-9}})
    _, held = _train(tiny_model, {"distill": distill})
    assert _rise(free) > 0.08
    gap = {name: s.steps[25]["distill/divergence"] for name, s in (("free", free), ("held", held))}
    assert gap["held"] < 0.5 * gap["free"]


def test_reward_does_not_rise_without_advantages(tiny_model: Path) -> None:
    _, sink = _train(tiny_model, {"zero_advantages": True})
    assert abs(_rise(sink)) < 0.08


@pytest.mark.parametrize("kind", ["remax", "reinforce_pp"])
def test_one_sample_a_prompt_gives_a_gradient(tiny_model: Path, kind: str) -> None:
    _, sink = _train(tiny_model, {"kind": kind}, num_steps=3, num_samples=1)
    assert all(m["optim/grad_norm"] > 0 for m in sink.steps.values())
