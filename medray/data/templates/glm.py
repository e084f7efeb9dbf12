"""ChatGLM, three generations. The third has no stop token: the next role's token ends a turn."""

from __future__ import annotations

from medray.data.templates.base import UNKNOWN_ROLE, ChatTemplate


def _rounds(start: str, first: int, gap: str) -> str:
    """Numbered rounds of question and answer; every user message opens one."""
    return f"""{{{{- {start!r} }}}}
{{%- set ns = namespace(number={first - 1}) %}}
{{%- for message in messages %}}
{{%- if message.role == 'system' %}}
{{%- if message.content %}}{{{{- message.content + {gap!r} }}}}{{%- endif %}}
{{%- elif message.role == 'assistant' %}}
{{{{- '答：' }}}}{{{{- message.content }}}}{{{{- eos_token }}}}{{{{- {gap!r} }}}}
{{%- elif message.role in ('user', 'tool') %}}
{{%- set ns.number = ns.number + 1 %}}
{{{{- '[Round ' ~ ns.number ~ ']' + {gap!r} + '问：' + message.content + {gap!r} }}}}
{{%- else %}}{UNKNOWN_ROLE}{{%- endif %}}
{{%- endfor %}}
{{%- if add_generation_prompt %}}{{{{- '答：' }}}}{{%- endif %}}"""


_CHATGLM3 = f"""{{{{- '[gMASK]sop' }}}}
{{%- for message in messages %}}
{{%- if message.role == 'assistant' %}}
{{{{- '<|assistant|>' }}}}
{{%- if not message.call %}}{{{{- '\\n' }}}}{{%- endif %}}
{{{{- message.content }}}}
{{%- elif message.role == 'tool' %}}
{{{{- '<|observation|>\\n' + message.content }}}}
{{%- elif message.role == 'user' or message.role == 'system' and message.content %}}
{{{{- '<|' + message.role + '|>\\n' + message.content }}}}
{{%- elif message.role != 'system' %}}
{UNKNOWN_ROLE}
{{%- endif %}}
{{%- endfor %}}
{{%- if add_generation_prompt %}}{{{{- '<|assistant|>' }}}}{{%- endif %}}"""

TEMPLATES = (
    ChatTemplate("chatglm", "ChatGLM-6B", _rounds("", 0, "\n")),
    ChatTemplate("chatglm2", "ChatGLM2-6B", _rounds("[gMASK]sop", 1, "\n\n")),
    ChatTemplate(
        "chatglm3",
        "ChatGLM3-6B",
        _CHATGLM3,
        ("<|user|>", "<|observation|>"),
        tool_format="glm4",
        next_role=("<|user|>", "<|observation|>", "<|assistant|>", "<|system|>"),
    ),
)
