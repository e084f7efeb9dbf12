"""Policy-gradient updates of given shapes, without rollouts: what the benchmarks of the learner time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from medray.types import Continuation, PromptTree


@dataclass(frozen=True)
class Shape:
    """Groups of one step."""

    prompt: int  # tokens
    answer: int  # tokens
    groups: int = 8
    samples: int = 8


SHAPES = {"icd10": Shape(120, 16), "pubmedqa": Shape(400, 32), "long": Shape(120, 128)}


def groups(shape: Shape, vocabulary: int) -> list[PromptTree]:
    """Groups of random tokens, no two of which begin alike."""
    rng = np.random.default_rng(17)
    trees = []
    for _ in range(shape.groups):
        prompt = rng.integers(3, vocabulary, shape.prompt).astype(np.int32)
        answers = []
        for _ in range(shape.samples):
            columns = {
                "behaviour_logp": np.full(shape.answer, -10.0, np.float32),
                "advantage": np.full(shape.answer, rng.normal(), np.float32),
            }
            ids = rng.integers(3, vocabulary, shape.answer).astype(np.int32)
            answers.append(Continuation(ids, np.ones(shape.answer, np.bool_), columns))
        trees.append(PromptTree(prompt, tuple(answers)))
    return trees


class Updates:
    """SmolLM2-135M on all cores, and its gradient of a step.

    `sharing` is how answers share their prompt; plain computes each after a copy of its own.
    """

    def __init__(self, sharing: Literal["auto", "plain"] = "auto") -> None:
        from medray.config.algorithms.grpo import Grpo
        from medray.config.model import ModelConfig
        from medray.config.optim import OptimConfig
        from medray.learners.learner import Learner
        from medray.learners.objectives.policy_gradient import PolicyGradient
        from medray.models.load import load_policy
        from medray.system.cpu import use_cpu

        use_cpu(os.cpu_count() or 1)
        self.policy = load_policy(ModelConfig(path="smollm2-135m", attention=sharing))
        self.learner = Learner(self.policy, OptimConfig(), num_optim_steps=1)
        self.objective = PolicyGradient(Grpo(), 128)

    @property
    def vocabulary(self) -> int:
        """Size of the model's vocabulary."""
        return int(self.policy.module.config.vocab_size)

    def gradient(self, trees: list[PromptTree]) -> dict[str, Any]:
        """Forward and backward of a whole step; returns the gradients by name."""
        for p in self.learner.parameters:
            p.grad = None
        self.learner.forward_backward(trees, self.objective, self.learner.totals(trees))
        return {name: p.grad for name, p in self.policy.trainable()}
