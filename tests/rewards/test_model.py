"""The reward model as a reward: its own text, its own head, its bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medray.config.reward import RewardConfig, by_role
from medray.errors import ConfigError, ModelError
from medray.rewards.mixture import build_rewards
from medray.rewards.model import ModelReward
from medray.types import Prompt, Record, Response, RolloutGroup
from tests.support.tiny_reward import save_tiny_reward_adapter, save_tiny_reward_model

TEXTS = ("Answer: B", "Answer: B", "C", "")


@pytest.fixture(scope="module")
def folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_reward_model(tiny_model, tmp_path_factory.mktemp("rm") / "rm")


def _config(path: Path, **options: Any) -> RewardConfig:
    return RewardConfig(kind="model", options={"model": {"path": str(path)}} | options)


def _group() -> RolloutGroup:
    none = np.zeros(0, dtype=np.int32)
    record = Record("p", ({"role": "user", "content": "Which code is it?"},))
    responses = tuple(Response(none, none.astype(np.float32), t, "stop") for t in TEXTS)
    return RolloutGroup(Prompt(record, none), responses, 0)


def test_scores_are_those_of_the_whole_chat_under_the_plain_model(folder: Path) -> None:
    """transformers alone: the chat template, one text at a time."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    found = build_rewards([_config(folder)]).score(_group()).rewards
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for text, score in zip(TEXTS, found, strict=True):
        turns = [*_group().prompt.record.messages, {"role": "assistant", "content": text}]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            expected = float(model(input_ids=ids["input_ids"]).logits[0, 0])
        assert score == pytest.approx(expected, abs=1e-4)
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert abs(found[0] - found[2]) > 1e-3


def test_a_score_does_not_depend_on_its_neighbours(folder: Path) -> None:
    rewards = build_rewards([_config(folder)])
    group = _group()
    together = rewards.score(group).rewards
    for i, response in enumerate(group.responses):
        alone = rewards.score(RolloutGroup(group.prompt, (response,), 0)).rewards
        assert alone[0] == pytest.approx(together[i], abs=1e-5)


def test_scores_stay_in_their_bounds(folder: Path) -> None:
    config = _config(folder, low=-1e-4, high=1e-4)
    found = build_rewards([config]).score(_group()).rewards
    assert set(found) <= {-1e-4, 1e-4}


def test_an_adapter_with_a_head_is_a_reward_model(tiny_model: Path, tmp_path: Path) -> None:
    adapter = save_tiny_reward_adapter(tiny_model, tmp_path / "rm")
    assert len(set(build_rewards([_config(adapter)]).score(_group()).rewards)) == 3


def test_a_language_model_is_refused_before_anything_is_loaded(tiny_model: Path) -> None:
    with pytest.raises((ModelError, ConfigError), match="without a score head"):
        build_rewards([_config(tiny_model)])


def test_settings_are_checked(folder: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean low"):
        build_rewards([_config(folder, lowe=1)])
    with pytest.raises(ConfigError, match="not below high"):
        build_rewards([_config(folder, low=2.0, high=1.0)])


def _save_encoder(folder: Path, labels: list[str]) -> Path:
    """A tiny BERT with a WordPiece tokenizer and no chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "which", "code", "is", "it", "answer", "b", "c"]
    core = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        unk_token="[UNK]", model_max_length=32,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_encoder_reads_question_and_answer_as_a_pair(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = _save_encoder(tmp_path / "bert", ["score"])
    found = build_rewards([_config(folder)]).score(_group()).rewards
    batch = AutoTokenizer.from_pretrained(folder)("Which code is it?", "C", return_tensors="pt")
    with torch.no_grad():
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        assert found[2] == pytest.approx(float(model(**batch).logits[0, 0]), abs=1e-5)
    assert found[0] == found[1] != found[2]


def test_of_several_labels_one_has_to_be_named(tmp_path: Path) -> None:
    folder = _save_encoder(tmp_path / "bert", ["harmful", "safe"])
    with pytest.raises(ModelError, match=r"2 labels.*options\.label to one of harmful, safe"):
        build_rewards([_config(folder)]).load()
    shares = [
        build_rewards([_config(folder, label=n)]).score(_group()).rewards for n in ("safe", 0)
    ]
    assert np.sum(shares, axis=0) == pytest.approx(np.ones(4))


def test_who_computes_what(folder: Path) -> None:
    rewards = (RewardConfig(), _config(folder))
    assert by_role(rewards) == {"reward": (rewards[1],), "grader": (rewards[0],)}
    assert ModelReward.Options is not None


def test_an_encoder_cannot_score_steps(tmp_path: Path) -> None:
    folder = _save_encoder(tmp_path / "bert", ["score"])
    with pytest.raises(ModelError, match=r"a decoder with one score"):
        build_rewards([_config(folder, steps={})]).load()
