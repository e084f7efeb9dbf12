"""Every algorithm keeps the invariance contract: how a batch is cut must not change loss or gradient."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medray.config.algorithms.base import AlgorithmConfig
from medray.config.correction import SequenceTis, Tis
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.config.parts import LOSS
from medray.learners.learner import Learner
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.learners.objectives.token_losses import TOKEN_LOSSES
from medray.learners.strategies import DataParallel, Strategy
from medray.models.load import load_policy
from medray.types import Continuation, PromptTree, StepTotals
from tests.support.algorithms import SETTINGS, algorithm
from tests.support.trees import random_tree, unshare

MAX_NEW = 12
SHAPE = [(11, [3, 7, 12, 1]), (20, [5, 5, 5, 5]), (4, [2, 9, 4, 12])]
TOTALS = StepTotals(75, 12, 3)


def _learner(model: Path, *, row_tokens: int = 4096, strategy: Strategy | None = None) -> Learner:
    return Learner(
        load_policy(ModelConfig(path=str(model)), seed=0),
        OptimConfig(),
        num_optim_steps=10,
        config=LearnerConfig(row_tokens=row_tokens, head_chunk=16),
        strategy=strategy,
    )


def _batch(learner: Learner) -> list[PromptTree]:
    """Trees whose old and behaviour log-probabilities lie near the learner's, as in training."""
    rng = np.random.default_rng(0)
    trees = [random_tree(rng, prompt, lengths, reference=True) for prompt, lengths in SHAPE]

    def near(continuation: Continuation, logp: np.ndarray) -> Continuation:
        drift = rng.normal() * 0.1  # of the whole response, so that response ratios differ too
        columns = {
            "advantage": continuation.columns["advantage"],
            "ref_logp": (logp + rng.normal(0, 0.3, len(logp))).astype(np.float32),
            "old_logp": (logp + rng.normal(drift, 0.1, len(logp))).astype(np.float32),
            "behaviour_logp": (logp + rng.normal(drift, 0.2, len(logp))).astype(np.float32),
        }
        return Continuation(continuation.token_ids, continuation.trained, columns)

    return [
        PromptTree(tree.prompt_ids, tuple(map(near, tree.continuations, scored)))
        for tree, scored in zip(trees, learner.scorer.logprobs(trees), strict=True)
    ]


def _step(
    learner: Learner, trees: list[PromptTree], config: AlgorithmConfig
) -> tuple[dict[str, float], torch.Tensor]:
    learner.optimizer.zero_grad()
    own, objective = learner.prepare(trees, PolicyGradient(config, MAX_NEW))
    metrics = learner.forward_backward(own, objective, TOTALS).values()
    learner.strategy.sum_gradients()
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learner.parameters]
    return metrics, torch.cat([g.flatten() for g in grads])


@pytest.fixture(scope="module")
def whole(tiny_model: Path) -> Learner:
    return _learner(tiny_model)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_does_not_depend_on_how_the_batch_is_cut(
    tiny_model: Path, whole: Learner, name: str
) -> None:
    config, trees = algorithm(name), _batch(whole)
    metrics, grads = _step(whole, trees, config)
    assert float(grads.abs().max()) > 1e-5
    small = _learner(tiny_model, row_tokens=24)
    for learner, batch in [
        (small, trees),
        (whole, list(reversed(trees))),
        (whole, unshare(trees)),
        (small, unshare(trees)),
    ]:
        other_metrics, other_grads = _step(learner, batch, config)
        assert other_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
        torch.testing.assert_close(other_grads, grads, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_random_batch_reaches_both_sides_of_every_bound(whole: Learner, name: str) -> None:
    """Otherwise the test above would say nothing of clips and masks."""
    metrics, _ = _step(whole, _batch(whole), algorithm(name))
    config = algorithm(name)
    if config.loss != "sapo" and (not config.ratio_is_to_old or config.needs_old_pass):
        assert 0 < metrics["policy/clip_share"] < 1
    if config.correction is not None and not isinstance(config.correction, Tis | SequenceTis):
        assert 0 < metrics["policy/correction_dropped"] < 1
    if config.off_policy_mask is not None:
        assert 0 < metrics["policy/off_policy_masked"] < 1
    if isinstance(config.correction, Tis):
        assert metrics["policy/correction_weight"] < 1.1


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_environment_wrote_counts_nowhere(whole: Learner, name: str) -> None:
    """Its columns may hold anything, in the ratios, bounds, corrections and the KL of the loss alike."""

    def heard(continuation: Continuation, noise: float) -> Continuation:
        trained = np.arange(len(continuation.token_ids)) % 5 < 3
        columns = {
            column: np.where(trained, values, values + noise).astype(np.float32)
            for column, values in continuation.columns.items()
        }
        return Continuation(continuation.token_ids, trained, columns)

    def step(noise: float) -> tuple[dict[str, float], torch.Tensor]:
        trees = [
            PromptTree(t.prompt_ids, tuple(heard(c, noise) for c in t.continuations))
            for t in _batch(whole)
        ]
        return _step(whole, trees, algorithm(name))

    metrics, grads = step(0.0)
    assert float(grads.abs().max()) > 1e-5
    other_metrics, other_grads = step(2.0)
    assert other_metrics == pytest.approx(metrics, nan_ok=True)
    torch.testing.assert_close(other_grads, grads, rtol=1e-6, atol=1e-8)


def test_a_response_is_never_cut() -> None:
    """GSPO and the sequence mask look at whole responses, so a row must hold whole ones, however small its budget."""
    from medray.data.batches.packing import build_row, pack

    rng = np.random.default_rng(0)
    trees = [random_tree(rng, prompt, lengths) for prompt, lengths in SHAPE]
    rows = [build_row(row) for row in pack(trees, 16)]
    assert sorted(n for row in rows for n in row.sequence_lengths) == sorted(
        n for _, lengths in SHAPE for n in lengths
    )


def _rank_main(rank: int, port: int, model: str, results: Any) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    learner = _learner(Path(model), strategy=DataParallel())
    trees = _batch(learner)
    share = trees[rank:2] if rank else [trees[0], trees[2]]  # three groups, unequal shares
    grads = {name: _step(learner, share, algorithm(name))[1].numpy() for name in SETTINGS}
    dist.destroy_process_group()
    results.put((rank, grads))


def test_two_ranks_give_the_gradient_of_one(tiny_model: Path, whole: Learner) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    ranks = [
        context.Process(target=_rank_main, args=(rank, port, str(tiny_model), results))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    of_rank = dict(results.get(timeout=200) for _ in ranks)
    for process in ranks:
        process.join(timeout=60)
        assert process.exitcode == 0
    trees = _batch(whole)
    for name in SETTINGS:
        _, grads = _step(whole, trees, algorithm(name))
        for rank in range(2):
            np.testing.assert_allclose(
                of_rank[rank][name], grads.numpy(), rtol=1e-4, atol=1e-6, err_msg=name
            )


def test_tables_hold_what_the_configuration_offers() -> None:
    assert set(TOKEN_LOSSES) == set(LOSS.names)
