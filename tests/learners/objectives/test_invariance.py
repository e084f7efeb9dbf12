"""The contract of every objective: how a batch is cut must not change the step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medray.learners.learner import Learner
from medray.observability.meters import Meters
from medray.types import PromptTree
from tests.support.objectives import CASES, Case
from tests.support.trees import unshare

STAGES = ("sft", "rm", "prm", "dpo", "orpo", "kto")
"""One case for each stage; what tells the others apart, their value and gradient, is compared everywhere else."""
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def _loss_and_grads(
    learner: Learner, case: Case, calls: list[list[PromptTree]]
) -> tuple[float, torch.Tensor]:
    """One step in as many calls as there are parts; what is known of the step is known of the whole."""
    batch = [tree for part in calls for tree in part]
    trees, objective = learner.prepare(batch, case.objective)
    totals = learner.totals(trees)
    meters = Meters()
    ends = [sum(map(len, calls[: i + 1])) for i in range(len(calls))]
    for part, end in zip(calls, ends, strict=True):
        own = trees[end - len(part) : end]
        meters.merge(learner.forward_backward(own, objective, totals))
    loss = meters.values()["loss/total"]
    return loss, torch.cat([p.grad.flatten() for p in learner.parameters if p.grad is not None])


def _assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal up to float32 rounding on the scale of the largest gradient."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@every_case
def test_step_does_not_depend_on_how_it_is_cut(tiny_model: Path, case: Case) -> None:
    batch = case.batch(0)
    loss, grads = _loss_and_grads(case.learner(tiny_model), case, [batch])
    assert grads.abs().max() > 1e-3
    cuts: list[tuple[int, list[list[PromptTree]]]] = [
        (24, [batch]),
        (60, [batch]),
        (4096, [list(reversed(batch))]),
        (4096, [batch[:2], batch[2:]]),
    ]
    if case.objective.separable:
        cuts.append((4096, [unshare(batch)]))
    for row_tokens, calls in cuts:
        other, other_grads = _loss_and_grads(
            case.learner(tiny_model, row_tokens=row_tokens), case, calls
        )
        assert other == pytest.approx(loss, rel=1e-5, abs=1e-7)
        _assert_same(other_grads, grads)


@every_case
def test_unshared_prompts_give_the_same_step(tiny_model: Path, case: Case) -> None:
    """For architectures that cannot share a prompt, pairs are still computed in one row."""
    loss, grads = _loss_and_grads(case.learner(tiny_model), case, [case.batch(0)])
    for attention in ("dense", "plain"):
        learner = case.learner(tiny_model, attention=attention)
        assert learner.policy.sharing == attention
        other, other_grads = _loss_and_grads(learner, case, [case.batch(0)])
        assert other == pytest.approx(loss, rel=1e-5, abs=1e-7)
        _assert_same(other_grads, grads)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=() if name in STAGES else pytest.mark.slow)
        for name, case in CASES.items()
    ],
)
def test_twenty_steps_lower_the_loss(tiny_model: Path, case: Case) -> None:
    learner, batch = case.learner(tiny_model, lr=5e-4), case.batch(1)
    losses = [learner.train_step(batch, case.objective).values()["loss/total"] for _ in range(20)]
    after = learner.evaluate(batch, case.objective).values()["loss/total"]
    assert after <= losses[10] < losses[0] - 0.02 * abs(losses[0])


def test_evaluation_is_the_loss_of_the_next_step(tiny_model: Path) -> None:
    case = CASES["kto"]
    learner, batch = case.learner(tiny_model), case.batch(2)
    evaluated = learner.evaluate(batch, case.objective).values()
    assert all(p.grad is None for p in learner.parameters)
    trained = learner.train_step(batch, case.objective).values()
    assert evaluated == {name: trained[name] for name in evaluated}
