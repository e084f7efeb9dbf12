"""Scores in packed rows are those that transformers computes, and the saved model is a plain classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from medray.config.model import LoraConfig, ModelConfig
from medray.data.batches.packing import build_row
from medray.errors import ModelError
from medray.learners.scorer import Scorer
from medray.models.load import RewardModel, load_policy, load_reward_model
from medray.models.reward.model import last_tokens
from medray.types import Continuation, PromptTree
from tests.support.families import save_family
from tests.support.objectives import pairs

EOS = 2


def _ending_in_eos(trees: list[PromptTree]) -> list[PromptTree]:
    def ended(c: Continuation) -> Continuation:
        ids = c.token_ids.copy()
        ids[-1] = EOS
        return Continuation(ids, c.trained)

    return [PromptTree(t.prompt_ids, tuple(map(ended, t.continuations))) for t in trees]


def _batch_scores(folder: Path, trees: list[PromptTree]) -> list[float]:
    """Scores of the saved model from a right-padded batch, as any user of transformers computes them."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [
        np.concatenate([t.prompt_ids, c.token_ids]).tolist() for t in trees for c in t.continuations
    ]
    batch = tokenizer.pad({"input_ids": texts}, return_tensors="pt", padding_side="right")
    with torch.no_grad():
        return model(**batch).logits[:, 0].tolist()


def _save(model: RewardModel, folder: Path) -> None:
    model.module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("attention", ["tree", "dense", "plain"])
def test_scores_equal_a_padded_batch_of_the_saved_model(
    tiny_model: Path, tmp_path: Path, attention: str
) -> None:
    model = load_reward_model(ModelConfig(path=str(tiny_model), attention=attention), seed=3)
    _save(model, tmp_path)
    trees = _ending_in_eos(pairs(0))
    found = [score for tree in Scorer(model).scores(trees) for score in tree]
    assert np.std(found) > 0.1
    assert found == pytest.approx(_batch_scores(tmp_path, trees), rel=1e-4, abs=1e-5)


def test_padding_and_end_of_text_as_one_token(tiny_model: Path, tmp_path: Path) -> None:
    """Another special token pads then, so that the last token read is the one that ends the text."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    config = ModelConfig(path=str(tiny_model), tokenizer=str(tmp_path / "tokenizer"))
    model = load_reward_model(config, seed=3)
    assert model.module.config.pad_token_id == model.tokenizer.pad_token_id != EOS
    _save(model, tmp_path / "model")
    trees = _ending_in_eos(pairs(0))
    found = [score for tree in Scorer(model).scores(trees) for score in tree]
    assert found == pytest.approx(_batch_scores(tmp_path / "model", trees), rel=1e-4, abs=1e-5)


def test_trailing_padding_is_not_what_is_scored() -> None:
    """[10 11 | 20 0 0 | 0]: the first continuation is read at 20; one that is all padding at its first token."""
    ids = [np.array(x, np.int32) for x in ([10, 11], [20, 0, 0], [0])]
    tree = PromptTree(ids[0], tuple(Continuation(i, np.ones(len(i), np.bool_)) for i in ids[1:]))
    row = build_row([tree], whole=True, merge=False)
    assert last_tokens(row, 0) == [2, 5]
    assert last_tokens(row, None) == [4, 5]


def test_head_is_drawn_from_the_seed_and_trained_with_an_adapter(tiny_model: Path) -> None:
    heads = [
        load_reward_model(ModelConfig(path=str(tiny_model)), seed=s).module.score.weight
        for s in (1, 1, 2)
    ]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    model = load_reward_model(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)))
    names = [name for name, _ in model.trainable()]
    assert any("score" in name for name in names)
    assert all("score" in name or "lora_" in name for name in names)


def test_a_language_models_adapter_goes_on_as_a_reward_models(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Its change to the decoder is there, the head is new. It cannot be continued, having no head."""
    policy = load_policy(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)))
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.add_(0.1)
    policy.adapter.save_pretrained(tmp_path)
    row = build_row(pairs(0))
    expected = policy.hidden_states(row)
    merged = load_reward_model(ModelConfig(path=str(tmp_path)))
    torch.testing.assert_close(merged.hidden_states(row), expected, rtol=1e-4, atol=1e-4)
    config = ModelConfig(path=str(tiny_model), adapter=str(tmp_path), lora=LoraConfig())
    with pytest.raises(ModelError, match=r"model\.path"):
        load_reward_model(config)


def test_a_reward_models_adapter_is_trained_further(tiny_model: Path, tmp_path: Path) -> None:
    first = load_reward_model(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)), seed=1)
    with torch.no_grad():
        for _, parameter in first.trainable():
            parameter.add_(0.1)
    first.adapter.save_pretrained(tmp_path)
    config = ModelConfig(path=str(tiny_model), adapter=str(tmp_path), lora=LoraConfig())
    second = load_reward_model(config, seed=2)
    assert Scorer(second).scores(pairs(0)) == Scorer(first).scores(pairs(0))
    assert any("score" in name for name, _ in second.trainable())


def test_an_architecture_without_a_classifier_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    save_family(tmp_path / "cohere", "cohere", tiny_model)
    with pytest.raises(ModelError, match="CohereConfig") as caught:
        load_reward_model(ModelConfig(path=str(tmp_path / "cohere")))
    assert "\n" not in str(caught.value)
