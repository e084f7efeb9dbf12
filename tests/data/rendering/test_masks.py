"""The trained tokens are the assistant's turns and their stop tokens, whatever the template and dialogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from medray.data.rendering.chat import render_chat
from medray.data.templates.registry import TEMPLATES, apply_template
from tests.support.chats import byte_tokenizer, decoded, dialogues

# What the assistant writes before and after its text; "{eos}" is the tokenizer's end-of-sequence token.
IM = ("", "<|im_end|>")
EOS = ("", "{eos}")
SPACED = (" ", "{eos}")
ANSWERS = {
    "alpaca": EOS, "aquila": EOS, "baichuan": EOS, "baichuan2": EOS, "base": EOS, "belle": SPACED, "chatglm": EOS,
    "chatglm2": EOS, "chatml": IM, "cohere": ("", "<|END_OF_TURN_TOKEN|>"), "deepseek": SPACED, "deepseek3": EOS,
    "deepseekcoder": ("\n", "\n<|EOT|>"), "intern": ("", "<eoa>"), "intern2": IM, "linly": SPACED,
    "llama2": (" ", " {eos}"), "llama2-zh": (" ", " {eos}"), "llama3": ("", "<|eot_id|>"), "mistral": SPACED,
    "orion": EOS, "phoenix": EOS, "qwen": IM, "qwen3": IM, "qwen3_5": IM, "qwen3_5_nothink": IM,
    "qwen3_nothink": IM, "starchat": ("\n", "<|end|>"), "vicuna": SPACED, "xverse": SPACED, "yi": IM, "ziya": EOS,
}  # fmt: skip
NEXT = {
    "user": "<|user|>",
    "tool": "<|observation|>",
    "assistant": "<|assistant|>",
    None: "<|user|>",
}


def expected(name: str, messages: Sequence[Mapping[str, Any]], eos: str) -> list[str]:
    """What each assistant message contributes."""
    found = []
    for message, following in zip(messages, [*messages[1:], None], strict=True):
        if message["role"] == "assistant":
            if name == "chatglm3":  # no stop token: the next role's token ends a turn
                before, after = "\n", NEXT[following["role"] if following else None]
            else:
                before, after = ANSWERS[name]
            found.append(before + message["content"] + after.replace("{eos}", eos))
    return found


@pytest.fixture(scope="module", params=["tiny", "smollm2"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("tiny_model" if request.param == "tiny" else "smollm2")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)  # half a second for a real vocabulary


@pytest.fixture
def tokenizer(loaded: Any) -> Iterator[Any]:
    """The tokenizer; what `apply_template` sets is put back afterwards."""
    before = loaded.chat_template, loaded.eos_token
    yield loaded
    loaded.chat_template, loaded.eos_token = before


def check(name: str, tokenizer: Any, messages: list[dict[str, Any]]) -> None:
    texts = "".join(m["content"] for m in messages)
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assume(decoded(tokenizer, ids) == texts)  # some vocabularies lack some bytes
    rendered = render_chat(messages, tokenizer)
    wanted = expected(name, messages, tokenizer.eos_token)
    turns = [decoded(tokenizer, rendered.token_ids[t.start : t.end]) for t in rendered.turns]
    assert turns == wanted
    inside = np.zeros(len(rendered.token_ids), dtype=np.bool_)
    for turn in rendered.turns:
        inside[turn.start : turn.end] = True
    inside[:1] = False  # nothing predicts the first token of a text
    assert rendered.trained.tolist() == inside.tolist()
    assert decoded(tokenizer, rendered.token_ids) == rendered.text
    assert rendered.token_ids.dtype == np.int32
    assert rendered.trained.dtype == np.bool_


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_masked_tokens_are_the_answers(name: str, folder: Path, tokenizer: Any) -> None:
    apply_template(tokenizer, name)

    few = 14 if folder.name == "tiny" else 5

    @settings(max_examples=few, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(dialogues())
    def run(messages: list[dict[str, Any]]) -> None:
        check(name, tokenizer, messages)

    run()


@pytest.mark.parametrize("name", ["llama2", "orion", "phoenix", "vicuna"])
def test_with_the_families_own_tokens(name: str) -> None:
    tokenizer = byte_tokenizer()
    apply_template(tokenizer, name)

    @settings(max_examples=25, deadline=None)
    @given(dialogues())
    def run(messages: list[dict[str, Any]]) -> None:
        check(name, tokenizer, messages)

    run()


def test_with_the_model_s_own_template(tokenizer: Any) -> None:
    @settings(max_examples=50, deadline=None)
    @given(dialogues(roles=("user", "assistant")))
    def run(messages: list[dict[str, Any]]) -> None:
        check("chatml", tokenizer, messages)
        whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)[
            "input_ids"
        ]
        rendered = render_chat(messages, tokenizer)
        assert rendered.text == tokenizer.apply_chat_template(messages, tokenize=False)
        edges = [m for m in messages if m["role"] == "assistant" and m["content"][:1].isspace()]
        if not edges:  # a leading line break would merge with the header's
            assert rendered.token_ids.tolist() == whole

    run()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_last_only_and_switched_off_turns(data: st.DataObject) -> None:
    tokenizer = byte_tokenizer("<|im_start|>", "<|im_end|>")
    messages = data.draw(dialogues())
    for message in messages:
        if message["role"] == "assistant":
            message["trained"] = data.draw(st.booleans())
    wanted = expected("chatml", messages, "")
    answers = [m for m in messages if m["role"] == "assistant"]
    on = [text for text, m in zip(wanted, answers, strict=True) if m["trained"]]
    every, last = (render_chat(messages, tokenizer, train=train) for train in ("all", "last"))
    assert decoded(tokenizer, every.token_ids[every.trained]) == "".join(on)
    final = wanted[-1] if answers[-1]["trained"] else ""
    assert decoded(tokenizer, last.token_ids[last.trained]) == final
    assert [t.trained for t in every.turns] == [m["trained"] for m in answers]


def test_training_on_the_prompt_too(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rendered = render_chat(messages, tokenizer, train_on_prompt=True)
    assert rendered.trained.tolist() == [False] + [True] * (len(rendered.token_ids) - 1)
    off = [messages[0], {**messages[1], "trained": False}]
    rendered = render_chat(off, tokenizer, train_on_prompt=True)
    (turn,) = rendered.turns
    assert not rendered.trained[turn.start : turn.end].any()
    assert rendered.trained[1 : turn.start].all()
    assert turn.reason == "its message says so"
