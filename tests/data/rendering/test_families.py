"""Masks over the families' templates equal a slow computation; thoughts are where an engine writes them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from medray.data.rendering.chat import RenderedChat, render_chat
from medray.errors import ModelError
from tests.data.rendering.families import DEEPSEEK_V31, FAMILIES, Family
from tests.support.chats import byte_tokenizer, chat, decoded

Message = Mapping[str, Any]
SENTINEL = "Kq{}z"
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"
"""What a template that thinks when asked writes for an answer without one: its prompt with thinking off."""
TOOLS = ({"name": "look", "parameters": {}}, {"name": "find", "parameters": {}})


def think(thought: str, answer: str = "") -> str:
    return f"<think>\n{thought}\n</think>\n\n{answer}"


def call(*names: str, content: str = "", value: str = "v") -> dict[str, Any]:
    calls = tuple({"name": name, "arguments": {"x": f"{value}{i}"}} for i, name in enumerate(names))
    return {"role": "assistant", "content": content, "tool_calls": calls}


SINGLE = chat("u:Q1", "a:A1")
MULTI = chat("s:S", "u:Q1", "a:A1", "u:Q2", "a:A2", "u:Q3", "a:A3")
ONE_CALL = [*chat("u:Q1"), call("look"), *chat("t:R1", "a:A2", "u:Q3", "a:A3")]
TWO_CALLS = [*chat("u:Q1"), call("look", "find"), *chat("t:R1", "t:R2", "a:A2")]
CHAIN = [*chat("u:Q1"), call("look"), *chat("t:R1"), call("find"), *chat("t:R2", "a:A2")]
DIALOGUES: dict[str, tuple[list[dict[str, Any]], bool]] = {  # with whether there are tools
    "single": (SINGLE, False),
    "multi-turn": (MULTI, False),
    "tools": (ONE_CALL, True),
    "parallel tools": (TWO_CALLS, True),
    "tools in turn": (CHAIN, True),
    "thought": (chat("u:Q1", f"a:{think('T1', 'A1')}"), False),
    "thoughts": (chat("u:Q1", f"a:{think('T1', 'A1')}", "u:Q2", f"a:{think('T2', 'A2')}"), False),
    "thought on one line": (chat("u:Q1", "a:<think>T1</think>A1"), False),
    "thought beside a call": ([*chat("u:Q1"), call("look", content=think("T1"))], True),
    "thoughts beside calls": (
        [*chat("u:Q1"), call("look", content=think("T1")), *chat("t:R1", f"a:{think('T2', 'A2')}")],
        True,
    ),
}
CASES = [
    (family, name)
    for family, (name, (messages, tools)) in itertools.product(FAMILIES, DIALOGUES.items())
    if (FAMILIES[family].tools or not tools)
    and (FAMILIES[family].parallel or name != "parallel tools")
]


def tokenizer_of(family: Family) -> Any:
    return byte_tokenizer(*family.special, template=family.source)


def rendered(
    family: Family, messages: Sequence[Message], **options: Any
) -> tuple[RenderedChat, Any]:
    tokenizer = tokenizer_of(family)
    uses_tools = any(m.get("tool_calls") for m in messages)
    if uses_tools:
        options |= {"tools": TOOLS, "tool_format": "native"}
    return render_chat(messages, tokenizer, **options), tokenizer


def marked(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The dialogue with a sentinel of its own at the end of every content, and in every argument."""
    found: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        sentinel = SENTINEL.format(i)
        new = dict(message)
        if message.get("tool_calls"):
            new["tool_calls"] = tuple(
                {**c, "arguments": {"x": c["arguments"]["x"] + sentinel}}
                for c in message["tool_calls"]
            )
        if not message["content"].endswith("</think>\n\n") and message["content"]:
            new["content"] += sentinel
        found.append(new)
    return found


@pytest.mark.parametrize(("name", "dialogue"), CASES)
def test_what_is_trained_is_what_the_assistant_said(name: str, dialogue: str) -> None:
    family = FAMILIES[name]
    messages = marked(DIALOGUES[dialogue][0])
    chat, tokenizer = rendered(family, messages)
    assert decoded(tokenizer, chat.token_ids) == chat.text
    spans = [decoded(tokenizer, chat.token_ids[t.start : t.end]) for t in chat.turns]
    told = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    assert [turn.message for turn in chat.turns] == told
    for turn, span in zip(chat.turns, spans, strict=True):
        message = messages[turn.message]
        assert turn.trained, turn.reason
        for i in range(len(messages)):  # all of its words, and nobody else's
            count = span.count(SENTINEL.format(i))
            own = len(message.get("tool_calls", ())) + message["content"].count(SENTINEL.format(i))
            assert count == (own if i == turn.message else 0)
        assert span.count(message["content"].rpartition("</think>")[2].strip()) >= 1
        end = span.rindex(SENTINEL.format(turn.message)) + len(SENTINEL.format(turn.message))
        assert span.rstrip().endswith((*family.special, "</s>"))
        assert len(span) - end < 40  # what closes a call, and the stop token
    outside = decoded(tokenizer, chat.token_ids[~chat.trained])
    assert not any(SENTINEL.format(i) in outside for i in told)
    for turn in chat.turns:  # rendered with the message and without it
        prompt = _prompt(family, messages, turn.message)
        before = decoded(tokenizer, chat.token_ids[: turn.start])
        if turn.message == len(messages) - 1 and before != prompt + EMPTY_THOUGHT:
            assert before == prompt
            assert spans[-1] == chat.text.removeprefix(prompt).rstrip()
        elif chat.text.startswith(prompt):
            assert before in (prompt, prompt + EMPTY_THOUGHT)


def _prompt(family: Family, messages: Sequence[Message], end: int) -> str:
    """What an engine is given before the assistant's message `end`, by `apply_chat_template` itself."""
    tokenizer = tokenizer_of(family)
    native = []
    for message in messages[:end]:
        new = dict(message)
        if message.get("tool_calls"):
            new["tool_calls"] = [{"function": dict(c)} for c in message["tool_calls"]]
        thought, closed, answer = message["content"].partition("</think>")
        if closed and "m.thinking" in family.source:
            new |= {"thinking": thought.removeprefix("<think>").strip(), "content": answer.strip()}
        if closed and "'reasoning'" in family.source:
            new |= {"reasoning": thought.removeprefix("<think>").strip(), "content": answer.strip()}
        if closed and "[THINK]" in family.source:
            parts = [{"type": "thinking", "thinking": thought.removeprefix("<think>").strip()}]
            new["content"] = [*parts, {"type": "text", "text": answer.strip()}]
        native.append(new)
    tools = [{"type": "function", "function": dict(t)} for t in TOOLS]
    text = tokenizer.apply_chat_template(
        native, tools=tools, add_generation_prompt=True, tokenize=False
    )
    if not messages[-1].get(
        "tool_calls"
    ):  # a final message makes gpt-oss leave out what led to calls
        text = text.replace("<|start|>assistant<|channel|>analysis<|message|>T1<|end|>", "")
    return text


THOUGHTS = [name for name in DIALOGUES if "thought" in name]


@pytest.mark.parametrize(("name", "dialogue"), [case for case in CASES if case[1] in THOUGHTS])
def test_the_last_turn_holds_its_thought_and_begins_where_the_prompt_ends(
    name: str, dialogue: str
) -> None:
    family, messages = FAMILIES[name], DIALOGUES[dialogue][0]
    chat, tokenizer = rendered(family, messages)
    last = chat.turns[-1]
    span = decoded(tokenizer, chat.token_ids[last.start : last.end])
    number = "2" if "s" in dialogue.split()[0][-1:] else "1"
    assert span.count(f"T{number}") == 1
    said = "look" if dialogue == "thought beside a call" else f"A{number}"
    assert span.index(f"T{number}") < span.index(said)
    before = decoded(tokenizer, chat.token_ids[: last.start])
    assert before == _prompt(family, messages, len(messages) - 1)
    earlier = [decoded(tokenizer, chat.token_ids[t.start : t.end]) for t in chat.turns[:-1]]
    assert chat.num_lost_thoughts == sum("T1" not in text for text in earlier)


def test_a_thought_between_brackets() -> None:
    """As Magistral writes it; one that is not closed is not trained."""
    for name in ("thought", "thought on one line"):
        chat, tokenizer = rendered(FAMILIES["magistral"], DIALOGUES[name][0])
        span = decoded(tokenizer, chat.token_ids[chat.trained])
        assert span == "[THINK]T1[/THINK]A1</s>"
    for opened in ("<think>and then", "[THINK]and then"):
        messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": opened}]
        chat, _ = rendered(FAMILIES["magistral"], messages)
        assert chat.turns[0].reason == "its thought is never closed"


def test_an_answer_without_a_thought_closes_the_one_that_the_prompt_opens() -> None:
    chat, tokenizer = rendered(FAMILIES["r1 distill"], SINGLE)
    assert decoded(tokenizer, chat.token_ids[chat.trained]) == "\n</think>\n\nA1<｜eos｜>"


def test_a_prompt_that_closes_the_thought_refuses_one() -> None:
    messages = DIALOGUES["thought"][0]
    with pytest.raises(ModelError, match=r"ends its prompt after a thought.*chat\.variables"):
        rendered(DEEPSEEK_V31, messages)
    chat, tokenizer = rendered(DEEPSEEK_V31, messages, variables={"thinking": True})
    assert decoded(tokenizer, chat.token_ids[chat.trained]) == "T1</think>A1<｜eos｜>"
    plain, _ = rendered(DEEPSEEK_V31, SINGLE)
    assert decoded(tokenizer, plain.token_ids[plain.trained]) == "A1<｜eos｜>"
    with pytest.raises(ModelError, match=r"ends its prompt after a thought"):
        rendered(FAMILIES["qwen3"], messages, variables={"enable_thinking": False})


def test_a_prompt_with_an_empty_thought_that_answers_are_written_without() -> None:
    """As larger Gemma 4 models: thinking off is an empty channel in the prompt, and none in the text of an answer."""
    family = FAMILIES["gemma 4, by index"]
    empty = "{% if not enable_thinking | default(false) %}{{ '<|channel>thought\n<channel|>' }}{% endif %}"
    family = Family(
        family.source.removesuffix("{% endif %}") + empty + "{% endif %}", family.special
    )
    chat, tokenizer = rendered(family, MULTI)
    assert decoded(tokenizer, chat.token_ids[chat.trained]) == "A1<turn|>A2<turn|>A3<turn|>"
    assert chat.text.endswith("<|turn>assistant\n<|channel>thought\n<channel|>A3<turn|>\n")
    thought = DIALOGUES["thought"][0]
    with pytest.raises(ModelError, match="ends its prompt after a thought"):
        rendered(family, thought)
    chat, tokenizer = rendered(family, thought, variables={"enable_thinking": True})
    span = decoded(tokenizer, chat.token_ids[chat.trained])
    assert span == "<|channel>thought\nT1\n<channel|>A1<turn|>"


def test_a_thought_on_one_line_after_a_prompt_that_opens_one() -> None:
    prompt = "{{ '<think>\n' if enable_thinking | default(true) else '' }}"
    source = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}" + prompt + "{% endif %}"
    )
    family = Family(source, ("<|im_start|>", "<|im_end|>"))
    for messages in (DIALOGUES["thought on one line"][0], DIALOGUES["thought"][0]):
        chat, tokenizer = rendered(family, messages)
        assert decoded(tokenizer, chat.token_ids[chat.trained]) == "T1\n</think>\n\nA1<|im_end|>"
        off, _ = rendered(family, messages, variables={"enable_thinking": False})
        assert (
            decoded(tokenizer, off.token_ids[off.trained]) == messages[1]["content"] + "<|im_end|>"
        )


@pytest.mark.parametrize("name", ["llama 3.1", "gpt-oss"])
def test_a_call_that_a_template_leaves_out_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"rejects this dialogue|leaves out a call of find"):
        rendered(FAMILIES[name], TWO_CALLS)


def test_a_result_without_a_token_before_it_is_refused() -> None:
    template = (
        "{% if tools %}{% endif %}{% for m in messages %}{% if m.role != 'tool' %}{{ m.role + ': ' + m.content }}"
        "{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}{% if m.tool_calls %}"
        "{% for k in range(loop.index, messages | length) %}{% set x = messages[k] %}{% if x.role == 'tool' %}"
        "{{ ' -> ' + x.content }}{% endif %}{% endfor %}{% endif %}{{ '</s>' }}{% endif %}{% endfor %}"
    )
    with pytest.raises(ModelError, match="message 3 says into the assistant's turn"):
        rendered(Family(template, ()), ONE_CALL[:4])


def test_words_of_an_earlier_message_in_a_turn_are_refused() -> None:
    template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content }}{% if m.role == 'assistant' %}"
        "{{ ' (' + messages[0].content + ')' }}{% endif %}</s>{% endfor %}"
    )
    with pytest.raises(ModelError, match="writes what message 1 says among the assistant's words"):
        rendered(Family(template, ()), chat("u:Question", "a:Answer"))


def test_a_result_ends_the_turn_where_the_template_writes_no_stop() -> None:
    family = FAMILIES["gemma 4, by index"]
    source = family.source.replace(" + '<tool_call|>'", "")
    special = tuple(text for text in family.special if text != "<tool_call|>")
    chat, tokenizer = rendered(Family(source, special), ONE_CALL[:4])
    first = chat.turns[0]
    span = decoded(tokenizer, chat.token_ids[first.start : first.end])
    assert span == '<|tool_call>call:look{"x": "v0"}<|tool_response>'
