"""Adapters on a quantised base train on the CPU, with the real model."""

from __future__ import annotations

from pathlib import Path

import pytest

from medray.config.model import LoraConfig, ModelConfig
from medray.config.optim import OptimConfig
from medray.config.sft import CrossEntropyConfig
from medray.learners.learner import Learner
from medray.learners.objectives.registry import build_objective
from medray.models.load import load_policy
from tests.support.objectives import dialogues


@pytest.mark.slow
@pytest.mark.parametrize(("quantisation", "megabytes"), [("8bit", 260), ("4bit", 210)])
def test_quantised_base_trains(smollm2: Path, quantisation: str, megabytes: int) -> None:
    config = ModelConfig(path=str(smollm2), quantisation=quantisation, lora=LoraConfig(rank=8))  # type: ignore[arg-type]
    policy = load_policy(config)
    assert policy.module.get_memory_footprint() < megabytes * 1e6
    learner = Learner(policy, OptimConfig(lr=1e-3), num_optim_steps=10)
    objective, trees = build_objective("sft", CrossEntropyConfig()), dialogues(0)
    losses = [learner.train_step(trees, objective).values()["loss/total"] for _ in range(4)]
    assert losses[-1] < 0.9 * losses[0]
