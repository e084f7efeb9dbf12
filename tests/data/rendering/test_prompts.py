from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from medray.data.rendering.prompts import render_prompts
from medray.errors import DataError, ModelError
from medray.types import Record

CHATML = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def record(content: str, *, system: str | None = None, id: str = "r") -> Record:
    messages = [{"role": "system", "content": system}] if system else []
    return Record(id=id, messages=(*messages, {"role": "user", "content": content}))


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte tokenizer that, like many, puts a BOS token before any text it is given."""
    special = ["<s>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*special, *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(special)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="<|im_end|>")
    fast.chat_template = CHATML
    return fast


def test_one_bos_and_the_assistant_header(tokenizer) -> None:
    (prompt,), dropped = render_prompts([record("Hi")], tokenizer, max_prompt_tokens=64)
    assert dropped == 0
    assert prompt.token_ids.dtype == np.int32
    assert tokenizer.decode(prompt.token_ids) == (
        "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (prompt.token_ids == tokenizer.bos_token_id).sum() == 1
    assert prompt.record.messages[0]["content"] == "Hi"


def test_system_replaces_the_records_own(tokenizer) -> None:
    item = record("Hi", system="old")
    (own,), _ = render_prompts([item], tokenizer, max_prompt_tokens=99)
    (new,), _ = render_prompts([item], tokenizer, max_prompt_tokens=99, system="new")
    assert "<|im_start|>system\nold<|im_end|>" in tokenizer.decode(own.token_ids)
    rendered = tokenizer.decode(new.token_ids)
    assert "<|im_start|>system\nnew<|im_end|>" in rendered
    assert "old" not in rendered
    assert rendered.count("system") == 1


def test_too_long_prompts_are_dropped_counted_and_named(tokenizer, caplog) -> None:
    items = [record("x" * n, id=f"n{n}") for n in (1, 50, 2, 60)]
    (short, _), _ = render_prompts([items[0], items[2]], tokenizer, max_prompt_tokens=64)
    limit = len(short.token_ids) + 1
    with caplog.at_level(logging.WARNING):
        prompts, dropped = render_prompts(items, tokenizer, max_prompt_tokens=limit)
    assert [p.record.id for p in prompts] == ["n1", "n2"]
    assert dropped == 2
    assert f"dropped 2 of 4 prompts longer than data.max_prompt_tokens={limit}: n50, n60" in (
        caplog.text
    )


def test_all_too_long(tokenizer) -> None:
    with pytest.raises(DataError, match=r"all 1 prompts are longer than data\.max_prompt_tokens=8"):
        render_prompts([record("Hi")], tokenizer, max_prompt_tokens=8)


def test_no_records(tokenizer) -> None:
    assert render_prompts([], tokenizer, max_prompt_tokens=8) == ((), 0)


def test_tokenizer_without_chat_template(tokenizer) -> None:
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template: use an instruction-tuned model"):
        render_prompts([record("Hi")], tokenizer, max_prompt_tokens=64)


def test_template_that_refuses_a_system_message(tokenizer) -> None:
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}ok"
    )
    with pytest.raises(ModelError, match=r"refuses record r: no system role.*data\.system unset"):
        render_prompts([record("Hi")], tokenizer, max_prompt_tokens=64, system="s")
    prompts, _ = render_prompts([record("Hi")], tokenizer, max_prompt_tokens=64)
    assert len(prompts) == 1


def test_smollm2(smollm2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    (prompt,), _ = render_prompts(
        [record("What is fever?")], tokenizer, max_prompt_tokens=64, system="Be brief."
    )
    assert tokenizer.decode(prompt.token_ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is fever?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
