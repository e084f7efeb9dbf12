from __future__ import annotations

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
    rendered = render_prompts([record("Hi")], tokenizer, max_prompt_tokens=64)
    (prompt,) = rendered.prompts
    assert rendered.skipped() == ""
    assert prompt.token_ids.dtype == np.int32
    assert tokenizer.decode(prompt.token_ids) == (
        "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (prompt.token_ids == tokenizer.bos_token_id).sum() == 1
    assert prompt.record.messages[0]["content"] == "Hi"


def test_system_replaces_the_records_own(tokenizer) -> None:
    item = record("Hi", system="old")
    (own,) = render_prompts([item], tokenizer, max_prompt_tokens=99).prompts
    (new,) = render_prompts([item], tokenizer, max_prompt_tokens=99, system="new").prompts
    assert "<|im_start|>system\nold<|im_end|>" in tokenizer.decode(own.token_ids)
    rendered = tokenizer.decode(new.token_ids)
    assert "<|im_start|>system\nnew<|im_end|>" in rendered
    assert "old" not in rendered
    assert rendered.count("system") == 1


def test_too_long_prompts_are_skipped_counted_and_named(tokenizer) -> None:
    items = [record("x" * n, id=f"n{n}") for n in (1, 50, 2, 60)]
    short, _ = render_prompts([items[0], items[2]], tokenizer, max_prompt_tokens=64).prompts
    limit = len(short.token_ids) + 1
    rendered = render_prompts(items, tokenizer, max_prompt_tokens=limit)
    assert [p.record.id for p in rendered.prompts] == ["n1", "n2"]
    assert rendered.too_long == ("n50", "n60")
    assert rendered.skipped() == (
        f"2 of 4 skipped, longer than data.max_prompt_tokens={limit} (n50, n60)"
    )


def test_all_too_long(tokenizer) -> None:
    with pytest.raises(DataError, match=r"all 1 prompts are longer than data\.max_prompt_tokens=8"):
        render_prompts([record("Hi")], tokenizer, max_prompt_tokens=8)


def test_no_records(tokenizer) -> None:
    assert render_prompts([], tokenizer, max_prompt_tokens=8).prompts == ()


def test_tokenizer_without_chat_template(tokenizer) -> None:
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template: use an instruction-tuned model"):
        render_prompts([record("Hi")], tokenizer, max_prompt_tokens=64)


def test_template_that_refuses_a_system_message(tokenizer) -> None:
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}ok"
    )
    with pytest.raises(ModelError, match=r"rejects record r: no system role.*data\.system unset"):
        render_prompts([record("Hi")], tokenizer, max_prompt_tokens=64, system="s")
    assert len(render_prompts([record("Hi")], tokenizer, max_prompt_tokens=64).prompts) == 1


def test_smollm2(smollm2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    (prompt,) = render_prompts(
        [record("What is fever?")], tokenizer, max_prompt_tokens=64, system="Be brief."
    ).prompts
    assert tokenizer.decode(prompt.token_ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is fever?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
