"""The invariance contract: how a batch is cut must not change the step. And exact state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medray.config.algorithms.grpo import Grpo
from medray.config.learner import LearnerConfig
from medray.config.model import LoraConfig, ModelConfig
from medray.config.optim import OptimConfig
from medray.config.policy import KlConfig
from medray.data.batches.packing import PackedRow
from medray.errors import DivergedError
from medray.learners.learner import Learner
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.models.load import load_policy
from medray.types import PromptTree, StepTotals
from tests.support.trees import random_tree, unshare

MAX_NEW = 12


def _learner(
    model: Path, *, row_tokens: int = 4096, lr: float = 1e-3, lora: bool = False
) -> Learner:
    config = ModelConfig(path=str(model), lora=LoraConfig(rank=4) if lora else None)
    return Learner(
        load_policy(config, seed=0), OptimConfig(lr=lr, weight_decay=0.01), num_optim_steps=10,
        config=LearnerConfig(row_tokens=row_tokens, head_chunk=16),
    )  # fmt: skip


def _batch(seed: int = 0) -> list[PromptTree]:
    rng = np.random.default_rng(seed)
    shape = [(11, [3, 7, 12, 1]), (20, [5, 5, 5, 5]), (4, [2, 9, 4, 12])]
    return [random_tree(rng, prompt, lengths, reference=True) for prompt, lengths in shape]


def _totals(trees: list[PromptTree]) -> StepTotals:
    tokens = sum(len(c.token_ids) for t in trees for c in t.continuations)
    return StepTotals(tokens, sum(len(t.continuations) for t in trees), len(trees))


def _loss_and_grads(
    learner: Learner, trees: list[PromptTree], objective: PolicyGradient
) -> tuple[float, torch.Tensor]:
    learner.optimizer.zero_grad()
    loss = learner.forward_backward(trees, objective, _totals(_batch())).values()["loss/total"]
    return loss, torch.cat([p.grad.flatten() for p in learner.parameters if p.grad is not None])


def test_a_row_of_a_model_that_shares_nothing_keeps_to_the_budget(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is computed after its own copy of the prompt, all of which are held until the backward pass."""
    policy = load_policy(ModelConfig(path=str(tiny_model), attention="plain"))
    learner = Learner(
        policy, OptimConfig(), num_optim_steps=10, config=LearnerConfig(row_tokens=48)
    )
    sizes: list[int] = []
    compute = policy.hidden_states

    def spied(row: PackedRow, *noise: Any) -> torch.Tensor:
        sizes.append(sum(len(path) for path in row.paths()))
        return compute(row, *noise)

    monkeypatch.setattr(policy, "hidden_states", spied)
    _loss_and_grads(learner, _batch(), PolicyGradient(Grpo(), MAX_NEW))
    assert sum(sizes) > 48
    assert max(sizes) <= 48


@pytest.mark.parametrize("aggregation", ["token", "sequence", "fixed"])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_step_does_not_depend_on_rows_or_sharing(
    tiny_model: Path, aggregation: str, estimator: str
) -> None:
    config = Grpo(aggregation=aggregation, kl=KlConfig(coef=0.1, estimator=estimator))  # type: ignore[arg-type]
    objective = PolicyGradient(config, MAX_NEW)
    trees = _batch()
    loss, grads = _loss_and_grads(_learner(tiny_model), trees, objective)
    for row_tokens, batch in [
        (24, trees),
        (60, trees),
        (4096, list(reversed(trees))),
        (4096, unshare(trees)),
    ]:
        other_loss, other_grads = _loss_and_grads(
            _learner(tiny_model, row_tokens=row_tokens), batch, objective
        )
        assert other_loss == pytest.approx(loss, rel=1e-5, abs=1e-7)
        torch.testing.assert_close(other_grads, grads, rtol=1e-4, atol=1e-6)


def test_calls_add_up(tiny_model: Path) -> None:
    """Two calls of half the batch give the gradient of one call: denominators belong to the step."""
    objective = PolicyGradient(Grpo(), MAX_NEW)
    trees = _batch()
    loss, grads = _loss_and_grads(_learner(tiny_model), trees, objective)
    learner = _learner(tiny_model)
    totals = _totals(trees)
    first = learner.forward_backward(trees[:1], objective, totals)
    first.merge(learner.forward_backward(trees[1:], objective, totals))
    assert first.values()["loss/total"] == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(
        torch.cat([p.grad.flatten() for p in learner.parameters if p.grad is not None]), grads
    )


def test_a_schedule_ends_where_the_job_ends_whatever_was_skipped(tiny_model: Path) -> None:
    """8 steps at 1e-3, linear, of which 4 tied: the last taken is the eighth, 1e-3 / 8, not the fourth, 6.25e-4."""
    learner, trees = _learner(tiny_model), _batch()
    learner.optim = OptimConfig(lr=1e-3, schedule="linear", min_lr_ratio=0.0, warmup_ratio=0.0)
    learner.num_optim_steps = 8
    rates = []
    for place in (0, 1, 6, 7):
        learner.forward_backward(trees, PolicyGradient(Grpo(), MAX_NEW), _totals(trees))
        rates.append(learner.optim_step(place).values()["optim/lr"])
    assert rates == pytest.approx([1e-3, 8.75e-4, 2.5e-4, 1.25e-4])


@pytest.mark.parametrize("lora", [False, True])
def test_state_brings_back_the_next_step_bit_for_bit(
    tiny_model: Path, tmp_path: Path, lora: bool
) -> None:
    from medray.models.checkpoints.checkpoint import load_state, save_checkpoint

    objective = PolicyGradient(Grpo(), MAX_NEW)

    def steps(learner: Learner, seeds: range) -> None:
        for seed in seeds:
            learner.forward_backward(_batch(seed), objective, _totals(_batch(seed)))
            learner.optim_step()

    undisturbed = _learner(tiny_model, lora=lora)
    steps(undisturbed, range(4))
    interrupted = _learner(tiny_model, lora=lora)
    steps(interrupted, range(2))
    folder = save_checkpoint(tmp_path, 2, interrupted.policy, interrupted.state(), keep_last=1)
    config = ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4) if lora else None)
    resumed = Learner(
        load_policy(config, seed=99, checkpoint=str(folder)), OptimConfig(lr=1e-3, weight_decay=0.01),
        num_optim_steps=10,
        config=LearnerConfig(head_chunk=16),
    )  # fmt: skip
    resumed.restore(load_state(folder))
    steps(resumed, range(2, 4))
    for (name, a), (_, b) in zip(
        undisturbed.policy.trainable(), resumed.policy.trainable(), strict=True
    ):
        assert torch.equal(a, b), name


def test_non_finite_gradient_stops_before_the_weights_change(tiny_model: Path) -> None:
    learner = _learner(tiny_model)
    before = [p.detach().clone() for p in learner.parameters]
    learner.forward_backward(_batch(), PolicyGradient(Grpo(), MAX_NEW), _totals(_batch()))
    learner.parameters[0].grad[0] = float("nan")  # type: ignore[index]
    with pytest.raises(DivergedError, match="gradient norm"):
        learner.optim_step()
    assert all(torch.equal(a, b) for a, b in zip(before, learner.parameters, strict=True))


def test_zero_advantages_leave_the_weights_alone(tiny_model: Path) -> None:
    learner = _learner(tiny_model, lr=1e-2)
    trees = _batch()
    for tree in trees:
        for continuation in tree.continuations:
            continuation.columns["advantage"][:] = 0
    before = [p.detach().clone() for p in learner.parameters]
    learner.optim = OptimConfig(lr=1e-2)
    learner.optimizer.param_groups[0]["weight_decay"] = 0.0
    learner.forward_backward(trees, PolicyGradient(Grpo(), MAX_NEW), _totals(trees))
    learner.optim_step()
    assert all(torch.equal(a, b) for a, b in zip(before, learner.parameters, strict=True))
