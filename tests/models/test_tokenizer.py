from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GenerationConfig

from medray.config.model import ModelConfig
from medray.models.load import load_policy
from medray.models.tokenizer import add_stops, load_tokenizer, model_stops, named_stops
from tests.support.chats import byte_tokenizer


def test_a_named_template_stops_at_its_own_token(tiny_model: Path) -> None:
    stops = named_stops(ModelConfig(path=str(tiny_model), template="qwen"))
    tokenizer = load_tokenizer(ModelConfig(path=str(tiny_model)))
    assert stops.token_ids == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    assert stops.texts == ()


def test_a_stop_that_is_no_token_is_looked_for_in_the_text(tiny_model: Path) -> None:
    assert named_stops(ModelConfig(path=str(tiny_model), template="intern")) == ((), ("<eoa>",))


def test_without_a_name_nothing_is_added(tiny_model: Path) -> None:
    assert named_stops(ModelConfig(path=str(tiny_model))) == ((), ())


def test_stops_are_read_from_the_tokenizer_at_hand(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(path=str(tiny_model), template="chatml")
    tokenizer = load_tokenizer(config)
    monkeypatch.setattr(
        "medray.models.tokenizer.load_tokenizer", lambda _: pytest.fail("it was loaded again")
    )
    stops = model_stops(config, tokenizer)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in stops.token_ids


def test_checkpoints_stop_where_the_template_does(tiny_model: Path, tmp_path: Path) -> None:
    policy = load_policy(ModelConfig(path=str(tiny_model), template="chatml"))
    policy.module.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    saved = GenerationConfig.from_pretrained(tmp_path)
    assert saved.eos_token_id == [2]
    assert "{#- chatml -#}" in (tmp_path / "chat_template.jinja").read_text()


def test_stops_join_those_the_model_has() -> None:
    class Module:
        generation_config = GenerationConfig(eos_token_id=7)

    tokenizer = byte_tokenizer("<|eot_id|>", "<|eom_id|>")
    add_stops(Module, tokenizer, "llama3")
    expected = [7, *(tokenizer.convert_tokens_to_ids(t) for t in ("<|eot_id|>", "<|eom_id|>"))]
    assert Module.generation_config.eos_token_id == expected
    add_stops(object(), tokenizer, "llama3")
