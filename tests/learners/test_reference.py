"""The reference of preference losses: the base under an adapter, or a frozen copy, scored once and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from medray.config.model import LoraConfig, ModelConfig
from medray.learners.reference import with_reference
from medray.learners.reference_cache import ReferenceCache
from medray.learners.scorer import Scorer
from medray.models.load import PolicyModel, load_policy
from medray.types import PromptTree
from tests.support.objectives import CASES, dialogues, pairs


def _policy(model: Path, *, lora: bool = False) -> PolicyModel:
    return load_policy(ModelConfig(path=str(model), lora=LoraConfig(rank=4) if lora else None))


def _column(trees: list[PromptTree]) -> np.ndarray:
    return np.concatenate([c.columns["ref_logp"] for t in trees for c in t.continuations])


def test_reference_is_zero_at_untrained_tokens(tiny_model: Path) -> None:
    scorer, trees = Scorer(_policy(tiny_model)), dialogues(0)
    scored = with_reference(trees, scorer)
    for tree, logps in zip(scored, scorer.logprobs(trees), strict=True):
        for continuation, logp in zip(tree.continuations, logps, strict=True):
            column = continuation.columns["ref_logp"]
            assert np.array_equal(column[continuation.trained], logp)
            assert not column[~continuation.trained].any()
            assert logp.max() < -0.1


def test_adapter_off_is_the_frozen_copy(tiny_model: Path) -> None:
    """A trained adapter moves the policy, and its reference stays what a separate copy gives."""
    case, trees = CASES["dpo"], pairs(0)
    learner = case.learner(tiny_model, lora=LoraConfig(rank=4), lr=1e-2)
    for _ in range(3):
        learner.train_step(trees, case.objective)
    copy = _column(with_reference(trees, Scorer(_policy(tiny_model))))
    off = _column(with_reference(trees, learner.scorer, adapter=False))
    np.testing.assert_allclose(off, copy, rtol=1e-5)
    assert np.abs(_column(with_reference(trees, learner.scorer)) - copy).max() > 0.01


def test_the_first_margin_is_zero(tiny_model: Path) -> None:
    case = CASES["dpo"]
    learner = case.learner(tiny_model)
    trees = with_reference(pairs(0), learner.scorer)
    found = learner.evaluate(trees, case.objective).values()
    assert abs(found["preference/margin"]) < 1e-6
    assert abs(found["loss/total"] - np.log(2)) < 1e-6


def test_cache_scores_a_chunk_once(tiny_model: Path, tmp_path: Path) -> None:
    trees = [tree for seed in range(3) for tree in pairs(seed)]
    scorer = Scorer(_policy(tiny_model))
    expected = _column(with_reference(trees, scorer))
    first = ReferenceCache(tmp_path, scorer, chunk_trees=5)
    assert np.array_equal(_column(list(first.add(iter(trees)))), expected)
    assert first.num_scored == len(trees) == 12
    again = ReferenceCache(tmp_path, Scorer(_policy(tiny_model)), chunk_trees=5)
    assert np.array_equal(_column(list(again.add(trees))), expected)
    assert again.num_scored == 0


def test_cache_is_not_fooled_by_other_data_models_or_damage(
    tiny_model: Path, tmp_path: Path
) -> None:
    scorer, trees = Scorer(_policy(tiny_model)), pairs(0)
    list(ReferenceCache(tmp_path, scorer).add(trees))
    other_data = ReferenceCache(tmp_path, scorer)
    list(other_data.add(pairs(1)))
    assert other_data.num_scored == len(trees)
    moved = _policy(tiny_model)
    with torch.no_grad():
        moved.module.get_input_embeddings().weight.mul_(1.5)
    other_model = ReferenceCache(tmp_path, Scorer(moved))
    found = _column(list(other_model.add(trees)))
    assert other_model.num_scored == len(trees)
    assert not np.allclose(found, _column(with_reference(trees, scorer)), atol=0.01)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:50])
    damaged = ReferenceCache(tmp_path, scorer)
    assert np.array_equal(_column(list(damaged.add(trees))), _column(with_reference(trees, scorer)))
