from __future__ import annotations

from typing import get_args

import pytest
from transformers import AutoTokenizer

from medray.config.model import ModelConfig, TemplateName
from medray.data.templates.registry import (
    TEMPLATES,
    Stops,
    apply_template,
    get_template,
    stops_of,
    template_of,
    template_stops,
)
from medray.data.tools.registry import TOOL_FORMATS
from medray.errors import ConfigError
from medray.models.tokenizer import load_tokenizer
from tests.support.chats import byte_tokenizer


def test_the_configuration_knows_every_name() -> None:
    assert set(get_args(TemplateName)) == set(TEMPLATES)
    assert len(TEMPLATES) == 33


def test_a_wrong_name_is_met_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"model\.template=qwen4 is unknown: did you mean qwen\?"):
        get_template("qwen4")


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_template_is_known_again_by_its_source(name: str) -> None:
    template = TEMPLATES[name]
    assert template_of(template.source) is template
    assert template_of(template.source + " ") is None
    assert template.tool_format in TOOL_FORMATS


def test_a_models_own_template_is_no_named_one() -> None:
    assert template_of("{% for m in messages %}{{ m.content }}{% endfor %}") is None
    assert template_of("{#- nothing -#}\nx") is None


def test_the_stop_token_becomes_the_end_of_sequence() -> None:
    tokenizer = byte_tokenizer("<|im_end|>", "<|im_start|>", eos="<|endoftext|>")
    stops = apply_template(tokenizer, "qwen")
    assert tokenizer.eos_token == "<|im_end|>"
    assert stops == Stops((tokenizer.eos_token_id,), ())
    assert tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_stop_that_is_no_token_is_a_text_to_look_for() -> None:
    tokenizer = byte_tokenizer("<|eot_id|>")
    assert apply_template(tokenizer, "intern") == Stops((), ("<eoa>",))
    assert tokenizer.eos_token == "</s>"
    expected = Stops((tokenizer.convert_tokens_to_ids("<|eot_id|>"),), ("<|eom_id|>",))
    assert template_stops(tokenizer, TEMPLATES["llama3"]) == expected


def test_a_stop_string_that_is_a_special_token_is_its_id() -> None:
    """Any other string stays text, a single byte of the vocabulary too: it may also end inside a longer token."""
    tokenizer = byte_tokenizer("<|im_start|>", "<|im_end|>")
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert stops_of(tokenizer, ("A", "<|im_start|>", "<eoa>")) == Stops((start,), ("A", "<eoa>"))
    assert stops_of(tokenizer, ()) == Stops((), ())


def test_without_a_stop_of_its_own_the_end_of_sequence_stops() -> None:
    tokenizer = byte_tokenizer()
    assert apply_template(tokenizer, "vicuna") == Stops((tokenizer.eos_token_id,), ())


def test_model_template_is_in_the_saved_tokenizer(tiny_model, tmp_path) -> None:
    tokenizer = load_tokenizer(ModelConfig(path=str(tiny_model), template="alpaca"))
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert template_of(again.chat_template) is TEMPLATES["alpaca"]
    own = load_tokenizer(ModelConfig(path=str(tiny_model)))
    assert template_of(own.chat_template) is None
