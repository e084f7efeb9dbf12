"""DeepSeek formats."""

from __future__ import annotations

from medray.data.templates.base import Blocks, ChatTemplate, block_jinja

# The model's own default system text refuses everything but programming, so none is written here.
_CODER = Blocks(
    start="{bos}",
    system="{content}\n",
    user="### Instruction:\n{content}\n",
    header="### Response:",
    answer="\n{content}\n<|EOT|>",
    after="\n",
)

TEMPLATES = (
    ChatTemplate(
        "deepseek",
        "DeepSeek LLM, DeepSeek-MoE-16B, DeepSeek-V2 Chat",
        block_jinja(
            Blocks(
                start="{bos}",
                system="{content}\n\n",
                user="User: {content}\n\n",
                header="Assistant:",
                answer=" {content}{eos}",
            )
        ),
    ),
    ChatTemplate(
        "deepseek3",
        "DeepSeek-V3, and R1 without its thoughts",
        block_jinja(Blocks(start="{bos}", user="<｜User｜>{content}", header="<｜Assistant｜>")),
    ),
    ChatTemplate("deepseekcoder", "DeepSeek Coder", block_jinja(_CODER), ("<|EOT|>",)),
)
