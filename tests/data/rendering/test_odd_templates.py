"""Templates as models ship them: rewriting the past, forcing thoughts, without stops, built in other ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.data.rendering.chat import render_chat
from medray.errors import ModelError
from tests.support.chats import byte_tokenizer, chat, decoded, dialogues

LIKE_QWEN3 = """
{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- set thought = '' %}
    {%- if '</think>' in content %}
        {%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if message.role == 'assistant' and loop.index0 > ns.last %}
        {{- '<|im_start|>assistant\\n<think>\\n' + thought + '\\n</think>\\n\\n' + content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
LIKE_QWEN3_THINKING = LIKE_QWEN3[: LIKE_QWEN3.index("    {%- if enable_thinking")] + (
    "{{- '<think>\\n' }}{%- endif %}"
)
FORCED_THOUGHT = (  # prepends an opening tag that the answer does not close
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
BLOCK = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
SAME_AS_CHATML = {
    "indices": "{% for i in range(messages|length) %}{% set m = messages[i] %}" + BLOCK + "{% endfor %}" + PROMPT,
    "macro": (
        "{% macro block(m) %}" + BLOCK + "{% endmacro %}{% for m in messages %}{{ block(m) }}{% endfor %}" + PROMPT
    ),
    "generation tags": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
        "{{ '\n' }}{% endfor %}" + PROMPT
    ),
    "copies of the list": (
        "{% set head = messages[:1] %}{% set rest = messages[1:] %}{% for m in head + rest %}" + BLOCK + "{% endfor %}"
        + PROMPT
    ),
    "looks around": (
        "{% for m in messages %}{% set before = messages[loop.index0 - 1] %}"
        "{% for other in messages %}{% if other.role == before.role %}{% set x = other %}{% endif %}{% endfor %}"
        + BLOCK + "{% endfor %}" + PROMPT
    ),
    "captured": "{% set all %}{% for m in messages %}" + BLOCK + "{% endfor %}{% endset %}{{ all }}" + PROMPT,
    "breaks": (
        "{% for m in messages %}{% for other in messages %}{% break %}{% endfor %}" + BLOCK
        + "{% if loop.last %}{% break %}{% endif %}{% endfor %}" + PROMPT
    ),
    "no generation prompt": "{% for m in messages %}" + BLOCK + "{% endfor %}",
}  # fmt: skip


def tokenizer_with(template: str, *special: str) -> Any:
    return byte_tokenizer("<|im_start|>", "<|im_end|>", *special, template=template)


def trained(messages: list[dict[str, Any]], template: str, **options: Any) -> list[str]:
    """Text of each trained turn, after checking it against the plain rendering."""
    tokenizer = tokenizer_with(template)
    rendered = render_chat(messages, tokenizer, **options)
    plain = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
    assert rendered.token_ids.tolist() == plain
    return [decoded(tokenizer, rendered.token_ids[t.start : t.end]) for t in rendered.turns]


def test_a_template_that_drops_earlier_thoughts() -> None:
    messages = chat(
        "u:Q1", "a:<think>\nt1\n</think>\n\nA1", "u:Q2", "a:<think>\nt2\n</think>\n\nA2"
    )
    expected = ["A1<|im_end|>", "<think>\nt2\n</think>\n\nA2<|im_end|>"]
    assert trained(messages, LIKE_QWEN3) == expected
    # The engine's prompt already holds the opening tag, so the model never writes it.
    assert trained(messages, LIKE_QWEN3_THINKING) == [expected[0], "t2\n</think>\n\nA2<|im_end|>"]


def test_an_empty_thought_written_by_the_template_is_the_engines_prompt() -> None:
    assert trained(chat("u:Q1", "a:A1", "u:Q2", "a:A2"), LIKE_QWEN3) == [
        "A1<|im_end|>",
        "A2<|im_end|>",
    ]


def test_no_training_within_a_thought_that_is_never_closed() -> None:
    tokenizer = tokenizer_with(FORCED_THOUGHT)
    rendered = render_chat(chat("u:Q1", "a:A1", "u:Q2", "a:A2"), tokenizer)
    assert [(t.trained, t.reason) for t in rendered.turns] == [
        (True, ""),
        (False, "its thought is never closed"),
    ]
    assert decoded(tokenizer, rendered.token_ids[rendered.trained]) == "A1<|im_end|>"
    closed = render_chat(chat("u:Q", "a:t</think>A"), tokenizer)
    assert decoded(tokenizer, closed.token_ids[closed.trained]) == "t</think>A<|im_end|>"
    own = render_chat(chat("u:Q", "a:<think>\nand then"), tokenizer_with(LIKE_QWEN3))
    assert not own.trained.any()
    prose = render_chat(
        chat("u:Q", "a:Write <think> first."), tokenizer_with(SAME_AS_CHATML["macro"])
    )
    assert prose.turns[0].trained


@settings(max_examples=60, deadline=None)
@given(dialogues(roles=("user", "assistant")), st.sampled_from(sorted(SAME_AS_CHATML)))
def test_ways_to_write_the_same_format(messages: list[dict[str, Any]], name: str) -> None:
    answers = [m["content"] + "<|im_end|>" for m in messages if m["role"] == "assistant"]
    assert trained(messages, SAME_AS_CHATML[name]) == answers


@settings(max_examples=40, deadline=None)
@given(dialogues(roles=("user", "assistant")))
def test_thinking_templates_on_any_dialogue(messages: list[dict[str, Any]]) -> None:
    answers = [m["content"] + "<|im_end|>" for m in messages if m["role"] == "assistant"]
    assert trained(messages, LIKE_QWEN3) == answers


LIKE_GLM4 = (
    "[gMASK]{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>\n{{ m.content }}"
    "{% else %}<|{{ m.role }}|>\n{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_the_next_roles_token_ends_a_turn() -> None:
    tokenizer = tokenizer_with(LIKE_GLM4, "[gMASK]", "<|user|>", "<|assistant|>", "<|system|>")
    rendered = render_chat(chat("u:Q1", "a:A1", "u:Q2", "a:A2"), tokenizer)
    assert rendered.text == "[gMASK]<|user|>\nQ1<|assistant|>\nA1<|user|>\nQ2<|assistant|>\nA2</s>"
    assert decoded(tokenizer, rendered.token_ids[rendered.trained]) == "\nA1<|user|>\nA2</s>"


def test_a_header_that_only_some_answers_have() -> None:
    template = (  # as DeepSeek's: none after a tool's result
        "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}<|assistant|>"
        "{% elif m.role == 'assistant' %}{{ m.content }}</s>{% else %}<|out|>{{ m.content }}<|/out|>"
        "{% endif %}{% endfor %}"
    )
    tokenizer = tokenizer_with(template, "<|user|>", "<|assistant|>", "<|out|>", "<|/out|>")
    rendered = render_chat(chat("u:Q", "a:A", "a:B"), tokenizer)
    assert decoded(tokenizer, rendered.token_ids[rendered.trained]) == "A</s>B</s>"


def test_text_after_the_stop_token_is_not_trained() -> None:
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>### {% endfor %}"
    tokenizer = tokenizer_with(template)
    rendered = render_chat(chat("u:Q", "a:A", "u:R", "a:B"), tokenizer)
    assert decoded(tokenizer, rendered.token_ids[rendered.trained]) == " A</s> B</s>"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for m in messages %}{{ m.role + m.content|upper }}</s>{% endfor %}", "rewrites what"),
        ("{% for m in messages %}{% if m.role == 'user' %}x{% endif %}{% endfor %}", "leaves out"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "no stop token"),
        (
            "{% set all %}{% for m in messages %}{{ m.content }}</s>{% endfor %}{% endset %}"
            "{{ all|length }}{{ all }}",
            "decides by its own output",
        ),
        (
            "{% for m in messages %}{{ m.content }}</s>{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}",
            "writes in several places",
        ),
        (
            "{{ messages[0].content }}</s>{{ messages[1].content }}</s>",
            "leaves out an answer of the assistant \\(message 2\\)",
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused(template: str, text: str) -> None:
    tokenizer = tokenizer_with(template)
    tokenizer.name_or_path = "some/model"
    with pytest.raises(ModelError, match=f"the chat template of some/model .*{text}") as error:
        render_chat(chat("u:Question", "a:Answer"), tokenizer)
    assert "set model.template" in str(error.value)


def test_a_template_that_refuses_the_dialogue() -> None:
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    with pytest.raises(ModelError, match="rejects this dialogue: no system"):
        render_chat(chat("s:S", "a:A"), tokenizer_with(template))


def test_contents_that_look_like_marks() -> None:
    messages = chat("u:\ufdd0\ufdd1<0;", "a:\ufdd0m\ufdd1>1;\ufdd0")
    assert trained(messages, SAME_AS_CHATML["macro"]) == ["\ufdd0m\ufdd1>1;\ufdd0<|im_end|>"]
