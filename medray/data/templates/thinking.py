"""Qwen formats that think: they drop the thoughts of earlier turns and write a thought before the last answer.

Turns before the user's last question lose their `<think>` block. Turns after it keep theirs, and the last one
gets an empty block when it has none. Such a text is not a prefix of the text of a longer dialogue.
"""

from __future__ import annotations

from medray.data.templates.base import UNKNOWN_ROLE, ChatTemplate

_EMPTY_THOUGHT = "<think>\\n\\n</think>\\n\\n"


def _jinja(prompt: str) -> str:
    """The template whose generation prompt, after the assistant's header, is the Jinja `prompt`."""
    return (
        """{%- set ns = namespace(question=-1) %}
{%- for message in messages %}
{%- if message.role == 'user' and not message.content.startswith('<tool_response>') %}
{%- set ns.question = loop.index0 %}
{%- endif %}
{%- endfor %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{%- set thought = '' %}
{%- set answer = message.content %}
{%- if '</think>' in message.content %}
{%- set thought = message.content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
{%- set answer = message.content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{{- '<|im_start|>assistant\\n' }}
{%- if loop.index0 > ns.question and (loop.last or thought) %}
{{- '<think>\\n' + thought + '\\n</think>\\n\\n' }}
{%- endif %}
{{- answer + '<|im_end|>\\n' }}
{%- elif message.role in ('user', 'tool') or message.role == 'system' and message.content %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role != 'system' %}
"""
        + UNKNOWN_ROLE
        + """
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
"""
        + prompt
        + """
{%- endif %}"""
    )


def _prompt(default: str) -> str:
    """The empty thought when `enable_thinking` is false, else `default`."""
    empty = f"{{{{- '{_EMPTY_THOUGHT}' }}}}"
    switch = "{%- if enable_thinking is defined and enable_thinking is false %}"
    return f"{switch}{empty}{{%- else %}}{default}{{%- endif %}}" if default != empty else empty


def _template(name: str, models: str, default: str) -> ChatTemplate:
    jinja = _jinja(_prompt(default))
    return ChatTemplate(name, models, jinja, ("<|im_end|>",), tool_format="qwen")


TEMPLATES = (
    _template("qwen3", "Qwen3 that thinks or not, as asked", ""),
    _template("qwen3_5", "Qwen3.5, thinking", "{{- '<think>\\n' }}"),
    _template("qwen3_5_nothink", "Qwen3.5, thinking off", f"{{{{- '{_EMPTY_THOUGHT}' }}}}"),
)
