"""Noise on the embeddings: its scale, where it is, and that it does not depend on how a step is cut."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.data.batches.packing import PackedRow, build_row
from medray.learners.learner import Learner
from medray.models.load import load_policy
from medray.models.neftune import EmbeddingNoise
from medray.types import Continuation, PromptTree
from tests.support.objectives import CASES, dialogues

CPU = torch.device("cpu")


def _tree(num_prompt: int, *lengths: int) -> PromptTree:
    rng = np.random.default_rng(num_prompt)

    def ids(size: int) -> np.ndarray:
        return rng.integers(3, 300, size).astype(np.int32)

    return PromptTree(
        ids(num_prompt), tuple(Continuation(ids(n), np.ones(n, np.bool_)) for n in lengths)
    )


def _row(*trees: PromptTree) -> PackedRow:
    return build_row(trees, whole=True, merge=False)


def test_scale_is_alpha_over_root_of_length_times_size() -> None:
    """arXiv:2310.05914 algorithm 1: uniform within alpha / sqrt(T D) of 0, T the sequence's own length."""
    noise = EmbeddingNoise(5.0, (1, 0)).of_row(_row(_tree(40, 60), _tree(10, 6)), 32, CPU)
    assert noise.shape == (116, 32)
    for part, length in ((noise[:100], 100), (noise[100:], 16)):
        bound = 5.0 / math.sqrt(length * 32)
        assert 0.98 * bound < float(part.abs().max()) <= bound
        assert float(part.mean()) == pytest.approx(0, abs=0.1 * bound)
        assert float(part.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_noise_depends_on_seed_step_and_sequence_alone() -> None:
    trees = [_tree(5, 7), _tree(3, 4)]
    draw = EmbeddingNoise(5.0, (1, 0))
    both = draw.of_row(_row(*trees), 8, CPU)
    alone = [draw.of_row(_row(tree), 8, CPU) for tree in trees]
    assert torch.equal(both, torch.cat(alone))
    assert not torch.equal(EmbeddingNoise(5.0, (1, 1)).of_row(_row(*trees), 8, CPU), both)
    assert not torch.equal(EmbeddingNoise(5.0, (2, 0)).of_row(_row(*trees), 8, CPU), both)
    shared = draw.of_row(_row(_tree(5, 7, 7)), 8, CPU)
    assert torch.equal(shared[:5], alone[0][:5])
    assert not torch.equal(shared[5:12], shared[12:])


@pytest.mark.parametrize("attention", ["tree", "dense", "plain"])
def test_noise_is_added_to_the_embeddings(tiny_model: Path, attention: str) -> None:
    """The same states as from embeddings moved by hand, for every way of computing a row."""
    policy = load_policy(ModelConfig(path=str(tiny_model), attention=attention))  # type: ignore[arg-type]
    row = _row(_tree(5, 7))
    draw = EmbeddingNoise(50.0, (0, 0))
    with torch.no_grad():
        found, clean = policy.hidden_states(row, draw), policy.hidden_states(row)
        embedded = policy.module.get_input_embeddings()(torch.as_tensor(row.token_ids)[None])
        policy.module.set_attn_implementation("sdpa")
        moved = embedded + draw.of_row(row, 64, CPU)[None]
        expected = policy.trunk(inputs_embeds=moved, use_cache=False).last_hidden_state[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (found - clean).abs().max() > 0.1


def test_noise_is_in_training_only_and_survives_any_cut(tiny_model: Path) -> None:
    case, trees = CASES["sft"], dialogues(0)

    def learner(row_tokens: int, alpha: float) -> Learner:
        made = case.learner(tiny_model, row_tokens=row_tokens)
        made.neftune_alpha = alpha
        return made

    whole, cut, clean = learner(4096, 15.0), learner(24, 15.0), learner(4096, 0.0)
    assert (
        whole.evaluate(trees, case.objective).values()
        == clean.evaluate(trees, case.objective).values()
    )
    losses = [
        made.train_step(trees, case.objective).values()["loss/total"]
        for made in (whole, cut, clean)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert abs(losses[2] - losses[0]) > 1e-3
    second = [
        made.train_step(trees, case.objective).values()["loss/total"] for made in (whole, cut)
    ]
    assert second[1] == pytest.approx(second[0], rel=1e-4)


def test_a_resumed_run_draws_the_same_noise(tiny_model: Path) -> None:
    case, trees = CASES["sft"], dialogues(0)

    def fresh() -> Learner:
        policy = load_policy(ModelConfig(path=str(tiny_model)))
        return Learner(policy, OptimConfig(lr=0.0), num_optim_steps=4, neftune_alpha=15.0, seed=3)

    through = fresh()
    losses = [through.train_step(trees, case.objective).values()["loss/total"] for _ in range(2)]
    resumed = fresh()
    resumed.step = 1
    torch.manual_seed(99)
    assert resumed.train_step(trees, case.objective).values()["loss/total"] == losses[1]
    assert losses[0] != losses[1]
