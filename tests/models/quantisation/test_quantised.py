"""Adapters on a quantised base train on the CPU, with the real model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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


def test_scoring_leaves_four_bit_weights_as_they_are_stored(tiny_model: Path) -> None:
    """Some CPUs have bitsandbytes store them anew, in a layout that is not dequantised as the trained weights."""
    from medray.models.checkpoints.export import named_weights

    policy = load_policy(
        ModelConfig(path=str(tiny_model), quantisation="4bit", lora=LoraConfig(rank=2))
    )
    before = {name: tensor.clone() for name, tensor in named_weights(policy)}
    with torch.no_grad():
        policy.module.eval()
        for layer in policy.module.modules():
            if type(layer).__name__ == "Linear4bit" and hasattr(layer, "in_features"):
                layer(torch.zeros(1, layer.in_features))
    for name, tensor in named_weights(policy):
        assert tensor.equal(before[name]), name
