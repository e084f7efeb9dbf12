"""The critic's objective and the estimates between passes and updates: goldens and the invariance contract."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from medray.config.critic import ValueLossConfig
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.config.policy import PolicyConfig
from medray.config.ppo import PpoConfig
from medray.learners.estimates import estimate
from medray.learners.learner import Learner
from medray.learners.objectives.base import Objective, RowTensors
from medray.learners.objectives.entropy import EntropyBonus
from medray.learners.objectives.value import ValueRegression
from medray.models.load import load_policy, load_reward_model
from medray.types import (
    Continuation,
    Prompt,
    PromptTree,
    Record,
    Response,
    RolloutGroup,
    StepTotals,
)
from tests.support.trees import random_tree, unshare

SHAPE = [(11, [3, 7, 12, 1]), (20, [5, 5, 5, 5]), (4, [2, 9, 4, 12])]
TOTALS = StepTotals(70, 12, 3)


def test_value_golden() -> None:
    """Two responses of 1 and 3 tokens, clip 0.2, only the second token clipped:

    V 1, R 2: loss 1/2, gradient -1.  V 1.5, V_old 1, R 2: near 1.2, loss 0.32, gradient 0.
    V = R: 0.  V 0, R 1: 1/2, -1.
    Over 4 tokens 1.32 / 4; over 2 responses (1/2 + 0.82 / 3) / 2.
    """
    columns = {
        "return": torch.tensor([2.0, 2.0, 3.0, 1.0]),
        "old_value": torch.tensor([1.0, 1.0, 3.0, 0.0]),
    }
    row = RowTensors(torch.tensor([0, 1, 1, 1]), torch.tensor([1, 3]), columns)
    for how, expected, grads in (
        ("token", 1.32 / 4, [-0.25, 0, 0, -0.25]),
        ("sequence", (0.5 + 0.82 / 3) / 2, [-0.5, 0, 0, -1 / 6]),
    ):
        values = torch.tensor([1.0, 1.5, 3.0, 0.0], requires_grad=True)
        config = ValueLossConfig(aggregation=how)  # type: ignore[arg-type]
        loss, meters = ValueRegression(config)(values, row, StepTotals(4, 2, 1))
        loss.backward()
        assert loss.item() == pytest.approx(expected)
        assert values.grad is not None
        assert values.grad.tolist() == pytest.approx(grads)
        metrics = meters.values()
        assert metrics["value/clip_share"] == 0.25
        assert metrics["value/squared_error"] == pytest.approx((1 + 0.25 + 0 + 1) / 4)


def test_entropy_golden() -> None:
    """Two tokens, advantage 0, entropies 1 and 3, coefficient 1/2: loss -(1 + 3) / 2 / 2 = -1, gradient -1/4 each."""
    entropy = torch.tensor([1.0, 3.0], requires_grad=True)
    columns = {
        "advantage": torch.zeros(2),
        "behaviour_logp": torch.tensor([-1.0, -1.0]),
        "entropy": entropy,
    }
    row = RowTensors(torch.tensor([0, 0]), torch.tensor([2]), columns)
    logp = torch.tensor([-1.0, -1.0], requires_grad=True)
    objective = EntropyBonus(PolicyConfig(entropy_coef=0.5), 4)
    loss, meters = objective(logp, row, StepTotals(2, 1, 1))
    loss.backward()
    assert loss.item() == -1.0
    assert entropy.grad is not None
    assert entropy.grad.tolist() == [-0.25, -0.25]
    assert meters.values()["policy/entropy_exact"] == 2.0


def test_estimates_golden() -> None:
    """Response 0: log ratios 1, -2 at 1/2, values 1, 2, score 3, ended. Response 1: cut off, score 1 less 2, value 0.

    As in the golden of token rewards: A = 3/2, 2 and returns 5/2, 4; response 1: A = return = -1.
    """
    ids = np.array([5, 6], dtype=np.int32)
    group = RolloutGroup(
        Prompt(Record("p", ()), ids),
        (
            Response(ids, np.array([-1.0, -3.0], dtype=np.float32), "", "stop"),
            Response(ids[:1], np.array([-1.0], dtype=np.float32), "", "length"),
        ),
        0,
    )
    config = PpoConfig.model_validate(
        {"lam": 0.5, "gamma": 1.0, "shaping": {"missing_eos_penalty": 2.0}}
    )
    values = [np.array([1.0, 2.0], dtype=np.float32), np.zeros(1, dtype=np.float32)]
    ref = [np.array([-2.0, -1.0], dtype=np.float32), np.array([-1.0], dtype=np.float32)]
    summary, found = estimate(group, values, ref, [3.0, 1.0], config, 0.5)
    np.testing.assert_allclose(found.advantages[0], [1.5, 2.0])
    np.testing.assert_allclose(found.returns[0], [2.5, 4.0])
    np.testing.assert_allclose(found.advantages[1], [-1.0])
    assert summary.scores == (3.0, -1.0)
    assert summary.response_advantages == (1.75, -1.0)
    assert (summary.advantages.count, summary.advantages.mean) == (3, pytest.approx(2.5 / 3))
    assert summary.residuals == summary.advantages

    # The critic's own lambda of 1: rewards to go -1/2 + 4 and 4. The policy's by length: 1/2 of two tokens, 0 of one.
    keys = {"value_lam": 1.0, "lam_alpha": 1.0, "lam": 0.9}
    own, apart = estimate(group, values, ref, [3.0, 1.0], config.model_copy(update=keys), 0.5)
    np.testing.assert_allclose(apart.returns[0], [3.5, 4.0])
    np.testing.assert_allclose(apart.returns[1], [-1.0])
    assert [a.tolist() for a in apart.advantages] == [a.tolist() for a in found.advantages]
    assert own.residuals.mean == pytest.approx((2.5 + 2.0 - 1.0) / 3), "returns less values"


def _learner(model: Path, objective: Objective, *, row_tokens: int = 4096) -> Learner:
    load = load_reward_model if objective.output == "value" else load_policy
    return Learner(
        load(ModelConfig(path=str(model)), seed=0),
        OptimConfig(),
        num_optim_steps=10,
        config=LearnerConfig(row_tokens=row_tokens, head_chunk=16),
    )


OBJECTIVES: dict[str, Objective] = {
    "value": ValueRegression(ValueLossConfig(clip=0.5)),
    "value-sequence": ValueRegression(ValueLossConfig(clip=None, aggregation="sequence")),
    "entropy": EntropyBonus(PolicyConfig(entropy_coef=0.1), 12),
}


def _batch() -> list[PromptTree]:
    rng = np.random.default_rng(0)

    def valued(continuation: Continuation) -> Continuation:
        size = len(continuation.token_ids)
        columns = {
            name: rng.normal(0, 1, size).astype(np.float32) for name in ("return", "old_value")
        }
        return Continuation(
            continuation.token_ids, continuation.trained, {**continuation.columns, **columns}
        )

    trees = [random_tree(rng, prompt, lengths) for prompt, lengths in SHAPE]
    return [PromptTree(t.prompt_ids, tuple(map(valued, t.continuations))) for t in trees]


def _step(
    learner: Learner, trees: list[PromptTree], objective: Objective
) -> tuple[dict[str, float], torch.Tensor]:
    for parameter in learner.parameters:
        parameter.grad = None
    metrics = learner.forward_backward(trees, objective, TOTALS).values()
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learner.parameters]
    return metrics, torch.cat([g.flatten() for g in grads])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_does_not_depend_on_how_the_batch_is_cut(tiny_model: Path, name: str) -> None:
    objective, trees = OBJECTIVES[name], _batch()
    whole, small = (_learner(tiny_model, objective, row_tokens=n) for n in (4096, 24))
    metrics, grads = _step(whole, trees, objective)
    assert float(grads.abs().max()) > 1e-5
    if name == "value":
        assert 0 < metrics["value/clip_share"] < 1
    for learner, batch in [
        (small, trees),
        (whole, list(reversed(trees))),
        (whole, unshare(trees)),
    ]:
        other_metrics, other_grads = _step(learner, batch, objective)
        assert other_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
        scale = float(grads.abs().max())
        torch.testing.assert_close(other_grads, grads, rtol=1e-4, atol=1e-5 * scale)


def test_a_value_is_that_of_the_state_before_its_token(tiny_model: Path) -> None:
    """The plain path: the whole text alone, the head at every position, shifted by one."""
    learner = _learner(tiny_model, OBJECTIVES["value"])
    tree = _batch()[0]
    [found] = learner.scorer.values([tree])
    module = load_reward_model(ModelConfig(path=str(tiny_model), attention="plain"), seed=0).module
    for continuation, values in zip(tree.continuations, found, strict=True):
        ids = np.concatenate([tree.prompt_ids, continuation.token_ids]).astype(np.int64)
        with torch.no_grad():
            hidden = module.base_model(input_ids=torch.from_numpy(ids)[None]).last_hidden_state[0]
            expected = module.score(hidden)[:, 0]  # type: ignore[operator]
        start = len(tree.prompt_ids) - 1
        np.testing.assert_allclose(
            values, expected[start : start + len(values)].numpy(), rtol=1e-4, atol=1e-5
        )


def _rank(rank: int, folder: str, model: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    found = {}
    for name, objective in OBJECTIVES.items():
        learner = _learner(Path(model), objective)
        trees = _batch()
        _, grads = _step(learner, trees[:1] if rank else trees[1:], objective)
        dist.all_reduce(grads)
        found[name] = grads
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_give_the_gradient_of_one(tiny_model: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ranks = [
        context.Process(target=_rank, args=(r, str(tmp_path), str(tiny_model))) for r in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=200)
    found = torch.load(tmp_path / "1.pt")
    for name, objective in OBJECTIVES.items():
        _, grads = _step(_learner(tiny_model, objective), _batch(), objective)
        scale = float(grads.abs().max())
        torch.testing.assert_close(found[name], grads, rtol=1e-4, atol=1e-5 * scale)
