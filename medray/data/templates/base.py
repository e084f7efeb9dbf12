"""What a named chat template is, and the Jinja of those that are one block after another."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLACE = re.compile(r"(\{content\}|\{bos\}|\{eos\})")
_VALUES = {"{content}": "message.content", "{bos}": "bos_token", "{eos}": "eos_token"}

UNKNOWN_ROLE = "{{- raise_exception('this template has no role ' ~ message.role) }}"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat format: its Jinja, and what the Jinja does not say.

    `stop` are the tokens with which the assistant ends a turn; empty means the tokenizer's own end-of-sequence
    token. `next_role` are the tokens that open a message, in a format where these end the turn before: nothing
    else does, so the first stop closes a dialogue that ends with an answer. `tool_format` is the wire format of
    function calls that the models of this format were trained on.
    """

    name: str
    models: str
    jinja: str
    stop: tuple[str, ...] = ()
    default_system: str = ""
    tool_format: str = "default"
    next_role: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The Jinja for a tokenizer. It begins with the template's name, by which it is known again."""
        return f"{{#- {self.name} -#}}\n{self.jinja}"


@dataclass(frozen=True, slots=True)
class Blocks:
    """The text around each kind of message, with `{content}`, `{bos}` and `{eos}` as places.

    `header` is what the engine is given before the assistant speaks; `answer` is all that the assistant then
    writes, from its first character to its stop token; `after` separates it from what follows.
    """

    user: str
    header: str
    answer: str = "{content}{eos}"
    after: str = ""
    system: str = "{content}"
    tool: str = ""
    start: str = ""
    always_system: bool = False


def block_jinja(blocks: Blocks, default_system: str = "") -> str:
    """The template of a format that is one block after another.

    An empty system message writes no block, and suppresses the default one.
    """
    system = f"{{%- if message.content %}}{emit(blocks.system)}{{%- endif %}}"
    default = ""
    if default_system:
        default = emit(blocks.system.replace("{content}", default_system))
    elif blocks.always_system:
        system, default = emit(blocks.system), emit(blocks.system.replace("{content}", ""))
    if default:
        default = f"{{%- if messages[0].role != 'system' %}}{default}{{%- endif %}}"
    lines = [
        emit(blocks.start) + default,
        "{%- for message in messages %}",
        f"{{%- if message.role == 'system' %}}{system}",
        f"{{%- elif message.role == 'user' %}}{emit(blocks.user)}",
        f"{{%- elif message.role == 'tool' %}}{emit(blocks.tool or blocks.user)}",
        f"{{%- elif message.role == 'assistant' %}}{emit(blocks.header + blocks.answer + blocks.after)}",
        f"{{%- else %}}{UNKNOWN_ROLE}{{%- endif %}}",
        "{%- endfor %}",
        f"{{%- if add_generation_prompt %}}{emit(blocks.header)}{{%- endif %}}",
    ]
    return "\n".join(line for line in lines if line)


def emit(pattern: str) -> str:
    """Jinja that writes `pattern`, its places filled in."""
    parts = [part for part in _PLACE.split(pattern) if part]
    return "".join(f"{{{{- {_VALUES.get(part) or literal(part)} }}}}" for part in parts)


def literal(text: str) -> str:
    """`text` as a string literal of Jinja, which reads Python's escapes."""
    return repr(text)
