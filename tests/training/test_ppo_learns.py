"""PPO raises the reward of a tiny model: the real driver, learner and critic, in one process."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from medray.actors.workers import Workers
from medray.config.ppo import PpoJob
from medray.observability.console.plain import PlainConsole
from medray.training.ppo import train_ppo
from medray.training.steps import PromptSets, Run
from medray.types import Prompt, Record
from tests.support.fake_workers import ListSink
from tests.support.toy_ppo import ToyPpoWorkers

LR = 3e-3


def _train(
    model: Path, *, num_steps: int = 12, **changes: dict[str, Any]
) -> tuple[ToyPpoWorkers, ListSink]:
    settings: dict[str, Any] = {
        "num_steps": num_steps,
        "model": {"path": str(model)},
        "rollout": {"prompts_per_step": 32, "samples_per_prompt": 1, "max_new_tokens": 6},
        "rewards": [{"kind": "tests.support.rewards:EvenBytes"}],
        "evaluation": {"num_items": 0},
        "optim": {"lr": 3e-3},
        "critic": {"optim": {"lr": 3e-3}},
        "algorithm": {"kl": {"coef": 0.0}},
    }
    job = PpoJob.model_validate(
        {key: settings.get(key, {}) | changes.get(key, {}) if isinstance(settings.get(key, {}), dict)
         else settings[key] for key in settings | changes}
    )  # fmt: skip
    rng = np.random.default_rng(0)
    prompts = tuple(
        Prompt(Record(str(i), ()), rng.integers(3, 320, 6).astype(np.int32)) for i in range(64)
    )
    workers, sink = ToyPpoWorkers(job), ListSink()
    console = PlainConsole(num_steps, io.StringIO())
    train_ppo(job, cast(Workers, workers), Run(PromptSets(prompts, ()), sink, console))
    return workers, sink


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _mean(sink: ListSink, name: str, steps: slice) -> float:
    return float(np.mean([m[name] for m in sink.steps.values()][steps]))


FIRST, LAST = slice(0, 3), slice(-5, None)


def _rise(sink: ListSink) -> float:
    assert _mean(sink, "reward/mean", FIRST) == pytest.approx(0.5, abs=0.1), "half of the tokens"
    return _mean(sink, "reward/mean", LAST) - _mean(sink, "reward/mean", FIRST)


def test_reward_rises_with_one_response_a_prompt(tiny_model: Path) -> None:
    _, sink = _train(tiny_model, num_steps=25)
    assert _rise(sink) > 0.12
    assert _mean(sink, "value/squared_error", LAST) < _mean(
        sink, "value/squared_error", slice(0, 1)
    )


@pytest.mark.slow
def test_a_high_coefficient_keeps_the_policy_near_its_reference(tiny_model: Path) -> None:
    """Only this sees 25 steps held by the KL term, which PPO takes from the reward: no gradient flows through it."""
    optim = {"lr": 1e-3}
    free, held = (
        _train(tiny_model, num_steps=25, optim=optim, algorithm={"kl": {"coef": coef}})[1]
        for coef in (0.0, 1.0)
    )
    reached = _mean(free, "policy/kl_ref_sequence", LAST)
    assert reached > 2
    assert _mean(held, "policy/kl_ref_sequence", LAST) < 0.75 * reached


def test_the_controller_raises_its_coefficient_while_the_kl_is_above_target(
    tiny_model: Path,
) -> None:
    workers, sink = _train(
        tiny_model, algorithm={"kl": {"coef": 0.01, "target": 0.05, "gain": 1.0}}
    )
    coefs = [m["policy/kl_coef"] for m in sink.steps.values()]
    kls = [m["policy/kl_ref_sequence"] for m in sink.steps.values()]
    for kl, before, after in zip(kls, coefs, coefs[1:], strict=False):
        error = min(max(kl / 0.05 - 1, -0.2), 0.2)
        assert after == pytest.approx(before * (1 + error))
    assert coefs[-1] > coefs[0]
    assert workers.kl_coefs == coefs, "the estimates are made with it"


def test_warm_up_trains_the_critic_alone(tiny_model: Path) -> None:
    optim = {"lr": LR, "schedule": "linear", "min_lr_ratio": 0.0, "warmup_ratio": 0.0}
    critic = {"warmup_steps": 2, "optim": optim}
    workers, sink = _train(tiny_model, num_steps=3, critic=critic, optim=optim)
    assert workers.log == ["policy 0 critic 16"] * 8 + ["policy 16 critic 16"] * 4
    assert sink.steps[3]["optim/lr"] == pytest.approx(LR), (
        "the policy's schedule begins with the policy"
    )
    assert sink.steps[3]["critic/lr"] == pytest.approx(LR / 3), "the critic's began with the run"
    assert "policy/ratio" not in sink.steps[2]
    assert "policy/ratio" in sink.steps[3]
    assert sink.steps[3]["policy/kl_ref_sequence"] == pytest.approx(0, abs=1e-4), "not yet moved"


def test_the_policy_stops_where_it_has_gone_too_far_and_the_critic_goes_on(
    tiny_model: Path,
) -> None:
    algorithm = {"kl": {"coef": 0.0}, "epochs": 4, "minibatches": 1, "target_kl": 1e-9}
    optim = {"lr": LR, "schedule": "linear", "min_lr_ratio": 0.0, "warmup_ratio": 0.0}
    workers, sink = _train(tiny_model, num_steps=2, algorithm=algorithm, optim=optim)
    assert workers.log == (["policy 32 critic 32"] * 2 + ["policy 0 critic 32"] * 2) * 2
    assert sink.steps[1]["policy/num_steps"] == 2
    # Steps 4 and 5 of 8, whatever was skipped before; the metric is the largest of the batch.
    assert sink.steps[2]["optim/lr"] == pytest.approx(LR / 2)


def test_normalised_rewards_and_the_penalty_for_a_missing_end(tiny_model: Path) -> None:
    shaping = {"normalise": "standardise", "clip": 1.0, "missing_eos_penalty": 2.0}
    _, sink = _train(tiny_model, num_steps=2, algorithm={"kl": {"coef": 0.0}, "shaping": shaping})
    assert sink.steps[1]["reward/score"] < -1.5, "nearly no response stops within six tokens"


@pytest.mark.slow
def test_entropy_bonus_keeps_the_policy_broader(tiny_model: Path) -> None:
    """Only this sees twelve steps with the bonus; its value and gradient are goldens of the losses."""
    _, plain = _train(tiny_model, algorithm={"kl": {"coef": 0.0}})
    _, broad = _train(tiny_model, algorithm={"kl": {"coef": 0.0}, "entropy_coef": 0.5})
    assert _mean(broad, "policy/entropy", LAST) > _mean(plain, "policy/entropy", LAST)
