"""LLaMA and Mistral formats. Theirs up to LLaMA 2 put the system text inside the user's first block."""

from __future__ import annotations

from medray.data.templates.base import UNKNOWN_ROLE, Blocks, ChatTemplate, block_jinja, emit

_LLAMA2_ZH_SYSTEM = "You are a helpful assistant. 你是一个乐于助人的助手。"

_LLAMA3 = Blocks(
    start="{bos}",
    system="<|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>",
    user="<|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>",
    tool="<|start_header_id|>ipython<|end_header_id|>\n\n{content}<|eot_id|>",
    header="<|start_header_id|>assistant<|end_header_id|>\n\n",
    answer="{content}<|eot_id|>",
)


def _inst_jinja(system: str, close: str, answer: str, *, bos_each: bool, default: str = "") -> str:
    """`[INST]` blocks; system texts wait for the next user message, or stand alone before an answer."""
    bos = "{%- if ns.fresh %}{{- bos_token }}{%- set ns.fresh = false %}{%- endif %}"
    waiting = emit(system).replace("message.content", "ns.system")
    return f"""{{%- set ns = namespace(system={default!r}, fresh=true) %}}
{{%- if messages[0].role == 'system' %}}{{%- set ns.system = '' %}}{{%- endif %}}
{{%- for message in messages %}}
{{%- if message.role == 'system' %}}
{{%- if message.tools %}}{bos}{{{{- message.tools }}}}{{%- endif %}}
{{%- set ns.system = (ns.system + '\\n\\n' if ns.system else '') + message.content %}}
{{%- elif message.role == 'assistant' %}}
{bos}
{{%- if ns.system %}}{{{{- '[INST] ' }}}}{waiting}{{{{- {close!r} }}}}{{%- set ns.system = '' %}}{{%- endif %}}
{answer}{{%- set ns.fresh = {str(bos_each).lower()} %}}
{{%- elif message.role == 'tool' and message.result %}}
{{{{- message.content }}}}
{{%- elif message.role in ('user', 'tool') %}}
{bos}
{{{{- '[INST] ' }}}}
{{%- if ns.system %}}{waiting}{{%- set ns.system = '' %}}{{%- endif %}}
{{{{- message.content }}}}{{{{- {close!r} }}}}
{{%- else %}}{UNKNOWN_ROLE}{{%- endif %}}
{{%- endfor %}}"""


def _llama2(default: str = "") -> str:
    system = "<<SYS>>\n{content}\n<</SYS>>\n\n"
    return _inst_jinja(system, " [/INST]", emit(" {content} {eos}"), bos_each=True, default=default)


_MISTRAL_ANSWER = "{%- if not message.call %}{{- ' ' }}{%- endif %}" + emit("{content}{eos}")
_MISTRAL = _inst_jinja("{content}\n\n", "[/INST]", _MISTRAL_ANSWER, bos_each=False)

TEMPLATES = (
    ChatTemplate("llama2", "LLaMA 2 Chat", _llama2()),
    ChatTemplate(
        "llama2-zh",
        "Chinese-Alpaca-2",
        _llama2(_LLAMA2_ZH_SYSTEM),
        default_system=_LLAMA2_ZH_SYSTEM,
    ),
    ChatTemplate(
        "llama3",
        "LLaMA 3, 3.1, 3.2, 3.3 Instruct",
        block_jinja(_LLAMA3),
        ("<|eot_id|>", "<|eom_id|>"),
        tool_format="llama3",
    ),
    ChatTemplate(
        "mistral", "Mistral 7B Instruct v0.3, Mixtral 8x22B", _MISTRAL, tool_format="mistral"
    ),
)
