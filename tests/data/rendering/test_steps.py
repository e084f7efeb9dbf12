"""Where steps end among the tokens: for every named template, and for tokenizers that merge across the edge."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from medray.data.rendering.chat import ChatOptions, ChatRenderer
from medray.data.rendering.steps import joined_step, render_steps, split_steps
from medray.data.templates.registry import TEMPLATES, apply_template
from medray.errors import ModelError
from tests.support.chats import CHATML, byte_tokenizer, decoded

STEPS = ("Step 1: fever.", "Step 2: so\na rash.", "i")
ASKED: Any = ({"role": "user", "content": "Why?"},)


@pytest.mark.parametrize("separator", ["\n\n", "\n", "<step>", " ки\n"])
def test_cutting_and_joining_are_inverse(separator: str) -> None:
    steps = [joined_step(step, separator) for step in STEPS]
    assert split_steps(separator.join(steps), separator) == steps
    assert not any(separator in step for step in steps)


def test_what_surrounds_steps_is_left_out() -> None:
    assert split_steps("\n\na \n\n\n\n b\n\n", "\n\n") == ["a", "b"]
    assert split_steps("  \n\n ", "\n\n") == [""], "an answer that says nothing is one step"


def _read_at(tokenizer: Any, separator: str = "\n\n", steps: tuple[str, ...] = STEPS) -> list[str]:
    """The text up to each end of a step, from where the assistant begins to speak."""
    renderer = ChatRenderer(tokenizer)
    found = render_steps(renderer, ASKED, steps, separator, ChatOptions())
    whole = renderer.render(
        [*ASKED, {"role": "assistant", "content": separator.join(steps)}], ChatOptions()
    )
    start = whole.turns[-1].characters[0]
    assert decoded(tokenizer, found.token_ids) == whole.text
    assert found.ends.tolist() == sorted(set(found.ends.tolist()))
    return [decoded(tokenizer, found.token_ids[: end + 1])[start:] for end in found.ends]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_step_ends_with_its_separator_and_the_last_with_the_stop_token(name: str) -> None:
    """Under every named template, those that write an empty thought before the answer included."""
    stops = TEMPLATES[name].stop
    tokenizer = byte_tokenizer(*stops)
    apply_template(tokenizer, name)
    first, second, last = _read_at(tokenizer)
    assert first.endswith("Step 1: fever.\n\n")
    assert second.endswith("fever.\n\nStep 2: so\na rash.\n\n")
    assert any(
        last.endswith(f"rash.\n\ni{gap}{tokenizer.eos_token}") for gap in ("", " ", "\n", "\n\n")
    )


def test_no_token_straddles_the_end_of_a_step() -> None:
    """A tokenizer that writes the blank line and the next step's first letter as one token, and does not there."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ċ", "Ċ"), ("ĊĊ", "S")]
    named = ["<s>", "<|im_start|>", "<|im_end|>", *alphabet, "ĊĊ", "ĊĊS"]
    core = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(named)}, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(named[:3])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    assert "ĊĊS" in tokenizer.convert_ids_to_tokens(tokenizer("a\n\nSo")["input_ids"])
    assert _read_at(tokenizer) == [
        "Step 1: fever.\n\n",
        "Step 1: fever.\n\nStep 2: so\na rash.\n\n",
        "Step 1: fever.\n\nStep 2: so\na rash.\n\ni<|im_end|>",
    ]


def test_an_answer_that_says_nothing_is_read_at_its_stop_token() -> None:
    tokenizer = byte_tokenizer("<|im_start|>", "<|im_end|>", eos="<|im_end|>")
    assert _read_at(tokenizer, steps=("",)) == ["<|im_end|>"]
    assert _read_at(tokenizer, steps=("end",)) == ["end<|im_end|>"]


def test_a_template_that_changes_the_answer_is_refused() -> None:
    source = CHATML.replace("{{ m['content'] }}", "{{ m['content'] | replace('\n\n', ' / ') }}")
    tokenizer = byte_tokenizer("<|im_start|>", "<|im_end|>", eos="<|im_end|>", template=source)
    with pytest.raises(ModelError, match=r"set model\.template"):
        render_steps(ChatRenderer(tokenizer), ASKED, STEPS, "\n\n", ChatOptions())
