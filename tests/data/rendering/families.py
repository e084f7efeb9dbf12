"""Chat templates in the styles of the families that models ship, and the texts that end turns in them.

Written for tests from the formats: how turns, thoughts, calls and results are laid out, which thoughts are left out,
and what the engine's prompt ends with.
"""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """A template, and the special tokens of its format."""

    source: str
    special: tuple[str, ...]
    parallel: bool = True  # more than one call a message
    tools: bool = True


_LAST = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% if tools %}{% endif %}"
)
_JSON_CALLS = "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}"
_IM = ("<|im_start|>", "<|im_end|>")


def _chatml(assistant: str, prompt: str = "") -> str:
    return (
        _LAST + "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\n' }}" + assistant
        + "{{ '<|im_end|>\n' }}{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}" + prompt + "{% endif %}"
    )  # fmt: skip


_SPLIT = (
    "{% set thought = m.reasoning_content or '' %}{% set answer = m.content %}{% if '</think>' in answer %}"
    "{% set thought = answer.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set answer = answer.split('</think>')[-1].lstrip('\n') %}{% endif %}"
)
_NO_THINK = "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
QWEN3 = _chatml(
    _SPLIT + "{% if loop.index0 > ns.last and (loop.last or thought) %}"
    "{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ answer }}" + _JSON_CALLS,
    _NO_THINK,
)
QWEN3_THINKING = QWEN3.replace(_NO_THINK, "{{ '<think>\n' }}")
R1 = (
    "{% set ns = namespace(tool=false) %}{% if tools %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.tool = false %}{{ '<｜User｜>' + m.content }}{% elif m.role == 'assistant' %}"
    "{% set c = m.content.split('</think>')[-1] %}"
    "{% if ns.tool %}{{ '<｜tool▁end｜>' + c }}{% else %}{{ '<｜Assistant｜>' + c }}{% endif %}"
    "{% set ns.tool = false %}" + _JSON_CALLS + "{{ '<｜eos｜>' }}{% elif m.role == 'tool' %}{% set ns.tool = true %}"
    "{{ '<｜tool▁begin｜>' + m.content }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if ns.tool %}{{ '<｜tool▁end｜>' }}{% elif add_generation_prompt %}{{ '<｜Assistant｜>' }}PROMPT{% endif %}"
)  # fmt: skip
_DEEPSEEK = ("<｜User｜>", "<｜Assistant｜>", "<｜eos｜>", "<｜tool▁begin｜>", "<｜tool▁end｜>")
LLAMA31 = (
    "{% if tools %}{% endif %}{% for m in messages %}{{ '<|h|>' + m.role + '<|/h|>\n\n' }}{% if m.tool_calls %}"
    "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call only') }}{% endif %}"
    "{{ m.tool_calls[0].function | tojson }}{% else %}{{ m.content | trim }}{% endif %}{{ '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|h|>assistant<|/h|>\n\n' }}{% endif %}"
)
HARMONY = (
    "{% if tools %}{% endif %}{% for m in messages %}{% if m.role == 'assistant' %}{% if 'tool_calls' in m %}"
    "{% set ns = namespace(final=false) %}{% for later in messages[loop.index:] %}{% if later.role == 'assistant' and"
    " 'tool_calls' not in later %}{% set ns.final = true %}{% endif %}{% endfor %}"
    "{% if m.thinking and not ns.final %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant to=' + m.tool_calls[0].function.name + '<|channel|>commentary json<|message|>' }}"
    "{{ m.tool_calls[0].function.arguments | tojson + '<|call|>' }}"
    "{% elif loop.last and not add_generation_prompt %}{% if 'thinking' in m %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}"
    "{% else %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}{% endif %}"
    "{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
_LOOK_AHEAD = {
    "by index": (
        "{% for k in range(loop.index, messages | length) %}{% if messages[k].role != 'tool' %}{% break %}{% endif %}"
        "{% set follow = messages[k] %}{{ '<|tool_response>' + follow.content + '<tool_response|>' }}{% endfor %}"
    ),
    "by slice": (
        "{% for follow in messages[loop.index:] %}{% if follow.role != 'tool' %}{% break %}{% endif %}"
        "{{ '<|tool_response>' + follow.content + '<tool_response|>' }}{% endfor %}"
    ),
    "by flag": (
        "{% set seen = namespace(stop=false) %}{% for k in range(loop.index0 + 1, messages | length) %}"
        "{% if messages[k].role != 'tool' %}{% set seen.stop = true %}{% elif not seen.stop %}"
        "{{ '<|tool_response>' + messages[k].content + '<tool_response|>' }}{% endif %}{% endfor %}"
    ),
}  # fmt: skip
GEMMA4 = (
    "{% if tools %}{% endif %}{% set ns = namespace(before='') %}{% for m in messages %}{% if m.role != 'tool' %}"
    "{% if not (m.role == 'assistant' and ns.before == 'assistant') %}{{ '<|turn>' + m.role + '\n' }}{% endif %}"
    "{% set ns.before = m.role %}{% set thought = m.get('reasoning') or m.get('reasoning_content') %}"
    "{% if thought and m.tool_calls %}{{ '<|channel>thought\n' + thought + '\n<channel|>' }}{% endif %}"
    "{% for c in m.tool_calls or [] %}"
    "{{ '<|tool_call>call:' + c.function.name + (c.function.arguments | tojson) + '<tool_call|>' }}{% endfor %}"
    "{% if m.tool_calls %}AHEAD{% endif %}{{ m.content }}"
    "{% if not m.tool_calls or m.content %}{{ '<turn|>\n' }}{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt and messages[-1].role != 'tool' %}{{ '<|turn>assistant\n' }}{% endif %}"
)
_GEMMA = (
    "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
    "<tool_response|>",
)  # fmt: skip
GLM = (
    _LAST + "[gMASK]{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|assistant|>' }}" + _SPLIT
    + "{% if loop.index0 > ns.last and thought %}{{ '\n<think>' + thought + '</think>' }}{% else %}"
    "{{ '\n<think></think>' }}{% endif %}{% if answer.strip() %}{{ '\n' + answer.strip() }}{% endif %}" + _JSON_CALLS
    + "{% elif m.role == 'tool' %}{{ '<|observation|>\n' + m.content }}{% else %}"
    "{{ '<|' + m.role + '|>\n' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)  # fmt: skip
V31 = R1.replace("'<｜Assistant｜>' + c", "'<｜Assistant｜></think>' + c").replace(
    "PROMPT", "{% if thinking is defined and thinking %}{{ '<think>' }}{% else %}{{ '</think>' }}{% endif %}"
)  # fmt: skip
GEMMA = (
    "{% for m in messages %}{{ '<start_of_turn>' + m.role + '\n' + (m.content | trim) + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>assistant\n' }}{% endif %}"
)

MAGISTRAL = (
    "{% if tools %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}"
    "{% elif m.role == 'assistant' %}{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'thinking' %}{{ '[THINK]' + part.thinking + '[/THINK]' }}{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}{% for c in m.tool_calls or [] %}"
    "{{ '[TOOL_CALLS]' + c.function.name + '[ARGS]' + (c.function.arguments | tojson) }}{% endfor %}{{ eos_token }}"
    "{% elif m.role == 'tool' %}{{ '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}"
    "{% else %}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}{% endif %}{% endfor %}"
)

FAMILIES = {
    "chatml": Family(_chatml("{{ m.content }}" + _JSON_CALLS), _IM),
    "qwen3": Family(QWEN3, _IM),
    "qwen3 thinking": Family(QWEN3_THINKING, _IM),
    "r1 distill": Family(R1.replace("PROMPT", "{{ '<think>\n' }}"), _DEEPSEEK),
    "deepseek v3": Family(R1.replace("PROMPT", ""), _DEEPSEEK),
    "llama 3.1": Family(LLAMA31, ("<|h|>", "<|/h|>", "<|eot|>"), parallel=False),
    "gpt-oss": Family(
        HARMONY,
        ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"),
        parallel=False,
    ),
    "glm 4.5": Family(
        GLM, ("[gMASK]", "<|user|>", "<|assistant|>", "<|system|>", "<|observation|>")
    ),
    "magistral": Family(
        MAGISTRAL,
        ("[INST]", "[/INST]", "[THINK]", "[/THINK]", "[TOOL_CALLS]", "[ARGS]", "[TOOL_RESULTS]"),
    ),
    "gemma": Family(GEMMA, ("<start_of_turn>", "<end_of_turn>"), tools=False),
    **{
        f"gemma 4, {name}": Family(GEMMA4.replace("AHEAD", ahead), _GEMMA)
        for name, ahead in _LOOK_AHEAD.items()
    },
}
DEEPSEEK_V31 = Family(V31, _DEEPSEEK)
