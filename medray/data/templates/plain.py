"""Formats whose roles are written as words or as one token, without an end marker of their own."""

from __future__ import annotations

from medray.data.templates.base import Blocks, ChatTemplate, block_jinja

# The default system texts are part of the formats: the models were trained on them word for word.
_VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_HUMAN_SYSTEM = _VICUNA_SYSTEM.replace("user", "human")
_ALPACA_SYSTEM = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)


def _template(
    name: str, models: str, blocks: Blocks, stop: tuple[str, ...] = (), system: str = ""
) -> ChatTemplate:
    return ChatTemplate(name, models, block_jinja(blocks, system), stop, system)


TEMPLATES = (
    _template(
        "vicuna",
        "Vicuna v1.1 and later",
        Blocks(
            start="{bos}",
            system="{content} ",
            user="USER: {content} ",
            header="ASSISTANT:",
            answer=" {content}{eos}",
        ),
        system=_VICUNA_SYSTEM,
    ),
    _template("base", "base models: texts joined as they are", Blocks(user="{content}", header="")),
    _template(
        "alpaca",
        "Alpaca",
        Blocks(
            start="{bos}",
            system="{content}\n\n",
            user="### Instruction:\n{content}\n\n",
            header="### Response:\n",
            after="\n\n",
        ),
        system=_ALPACA_SYSTEM,
    ),
    _template(
        "baichuan",
        "Baichuan-13B Chat",
        Blocks(user="<reserved_102>{content}", header="<reserved_103>"),
    ),
    _template(
        "baichuan2",
        "Baichuan2 Chat",
        Blocks(user="<reserved_106>{content}", header="<reserved_107>"),
    ),
    _template(
        "ziya",
        "Ziya-LLaMA, among them ziya-llama-13b-medical",
        Blocks(
            start="{bos}",
            system="{content}\n",
            user="<human>:{content}\n",
            header="<bot>:",
            after="\n",
        ),
    ),
    _template(
        "linly",
        "Linly-ChatFlow",
        Blocks(
            start="{bos}",
            system="{content}\n",
            user="User: {content}\n",
            header="Bot:",
            answer=" {content}{eos}",
            after="\n",
        ),
    ),
    _template(
        "belle",
        "BELLE",
        Blocks(
            start="{bos}",
            system="{content}\n\n",
            user="Human: {content}\n\n",
            header="Assistant:",
            answer=" {content}{eos}",
            after="\n\n",
        ),
    ),
    _template(
        "phoenix",
        "Phoenix, Chimera",
        Blocks(
            system="{content}\n\n",
            user="Human: {bos}{content}{eos}",
            header="Assistant: {bos}",
        ),
        system=_HUMAN_SYSTEM,
    ),
    _template(
        "aquila",
        "AquilaChat",
        Blocks(
            system="{content}###",
            user="Human: {content}###",
            header="Assistant:",
            after="###",
        ),
        system=_HUMAN_SYSTEM,
    ),
    _template(
        "xverse",
        "XVERSE Chat",
        Blocks(
            system="{content}\n\n",
            user="Human: {content}\n\n",
            header="Assistant:",
            answer=" {content}{eos}",
        ),
    ),
    _template(
        "orion",
        "Orion-14B Chat",
        Blocks(
            start="{bos}",
            system="{content}\n\n",
            user="Human: {content}\n\n",
            header="Assistant: {eos}",
        ),
    ),
    _template(
        "intern",
        "InternLM Chat",
        Blocks(
            start="{bos}",
            system="<|System|>:{content}\n",
            user="<|User|>:{content}\n",
            header="<|Bot|>:",
            answer="{content}<eoa>",
            after="\n",
        ),
        ("<eoa>",),
    ),
    _template(
        "cohere",
        "Command R, Command R+, Aya 23",
        Blocks(
            start="{bos}",
            system="<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{content}<|END_OF_TURN_TOKEN|>",
            user="<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{content}<|END_OF_TURN_TOKEN|>",
            header="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
            answer="{content}<|END_OF_TURN_TOKEN|>",
        ),
        ("<|END_OF_TURN_TOKEN|>",),
    ),
)
