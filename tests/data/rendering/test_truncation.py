from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.data.rendering.chat import RenderedChat, render_chat
from medray.data.rendering.truncation import Truncated, truncate
from medray.data.templates.registry import apply_template
from tests.support.chats import byte_tokenizer, chat, dialogues

LONG = chat("s:S", "u:Q1", "a:A1", "u:Q2", "u:more", "a:A2", "u:Q3", "a:A3")


def rendered_as(template: str, messages: list[dict[str, Any]], **options: Any) -> RenderedChat:
    tokenizer = byte_tokenizer("<|im_start|>", "<|im_end|>")
    apply_template(tokenizer, template)
    return render_chat(messages, tokenizer, **options)


def text_of(truncated: Truncated) -> str:
    assert truncated.rendered is not None
    return truncated.rendered.text


def test_what_fits_is_left_alone() -> None:
    rendered = rendered_as("chatml", LONG)
    truncated = truncate(rendered, len(rendered.token_ids))
    assert truncated == Truncated(rendered)
    assert not truncated.changed


def test_the_oldest_exchanges_go_first_and_whole() -> None:
    rendered = rendered_as("chatml", LONG)
    two = rendered_as("chatml", [LONG[0], *LONG[3:]])
    one = rendered_as("chatml", [LONG[0], *LONG[6:]])
    lost_one = truncate(rendered, len(rendered.token_ids) - 1)
    assert text_of(lost_one) == two.text
    assert (lost_one.dropped, lost_one.num_cut_tokens) == ((1, 2), 0)
    assert lost_one.rendered is not None
    assert [turn.message for turn in lost_one.rendered.turns] == [5, 7]
    lost_two = truncate(rendered, len(two.token_ids) - 1)
    assert text_of(lost_two) == one.text
    assert lost_two.dropped == (1, 2, 3, 4, 5)


def test_what_follows_the_last_answer_goes_before_anything_else() -> None:
    rendered = rendered_as("chatml", [*LONG, *chat("u:unanswered")])
    truncated = truncate(rendered, len(rendered.token_ids) - 1)
    assert text_of(truncated) == rendered_as("chatml", LONG).text
    assert truncated.dropped == (8,)


def test_rounds_are_numbered_anew_and_the_system_text_stays() -> None:
    rendered = rendered_as("chatglm2", LONG)
    truncated = truncate(rendered, len(rendered.token_ids) - 1)
    assert text_of(truncated).startswith("[gMASK]sopS\n\n[Round 1]\n\n问：Q2\n\n[Round 2]")
    rendered = rendered_as("llama2", LONG)
    truncated = truncate(rendered, len(rendered.token_ids) - 1)
    assert text_of(truncated).startswith("<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nQ2 [/INST]")


def test_an_answer_is_cut_at_its_end_without_a_stop_token() -> None:
    rendered = rendered_as("chatml", chat("u:Q", "a:A long answer"))
    (turn,) = rendered.turns
    truncated = truncate(rendered, turn.start + 6)
    part = truncated.rendered
    assert part is not None
    assert text_of(truncated) == "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA long"
    assert part.trained.tolist() == [False] * turn.start + [True] * 6
    assert part.turns == (turn._replace(end=turn.start + 6),)
    assert truncated.num_cut_tokens == len(rendered.token_ids) - turn.start - 6


def test_a_dialogue_whose_prompt_leaves_no_room() -> None:
    rendered = rendered_as("chatml", chat("u:Q", "a:A"))
    (turn,) = rendered.turns
    truncated = truncate(rendered, turn.start)
    assert truncated.rendered is None
    assert truncated.reason == f"its prompt leaves no room ({len(rendered.token_ids)} tokens)"
    whole = truncate(rendered, turn.start + 1, cut_answer=False)
    assert whole.rendered is None
    assert whole.reason == f"its last exchange is too long ({len(rendered.token_ids)} tokens)"
    assert truncated.changed


def test_no_answer() -> None:
    rendered = rendered_as("chatml", chat("u:Q"))
    assert truncate(rendered, 3) == Truncated(None, reason="it has no answer")


def test_nothing_trained_is_left() -> None:
    messages = [*LONG[:-1], {**LONG[-1], "trained": False}]
    one = rendered_as("chatml", [LONG[0], *messages[6:]])
    truncated = truncate(rendered_as("chatml", messages), len(one.token_ids))
    assert (truncated.rendered, truncated.reason) == (None, "nothing trained is left")


@settings(max_examples=60, deadline=None)
@given(dialogues(), st.sampled_from(["chatml", "qwen3", "llama2", "chatglm3"]), st.integers(4, 160))
def test_any_dialogue(messages: list[dict[str, Any]], template: str, max_tokens: int) -> None:
    tokenizer = byte_tokenizer("<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>")
    apply_template(tokenizer, template)
    rendered = render_chat(messages, tokenizer)
    truncated = truncate(rendered, max_tokens)
    part = truncated.rendered
    if part is None:
        assert truncated.reason
        return
    assert len(part.token_ids) <= max_tokens
    assert part.trained.any()
    assert len(part.trained) == len(part.token_ids)
    kept = [m for i, m in enumerate(messages) if i not in truncated.dropped]
    again = render_chat(kept, tokenizer)
    assert again.token_ids[: len(part.token_ids)].tolist() == part.token_ids.tolist()
    assert len(again.token_ids) - len(part.token_ids) == truncated.num_cut_tokens
    if truncated.num_cut_tokens:  # it ends within an answer, or with one
        assert part.trained[-1]


def test_only_what_render_chat_made() -> None:
    rendered = rendered_as("chatml", LONG)
    bare = RenderedChat(rendered.token_ids, rendered.trained, rendered.text, rendered.turns)
    with pytest.raises(ValueError, match="only a dialogue as render_chat made it"):
        truncate(bare, 5)
