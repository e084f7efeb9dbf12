"""ChatML and its relatives: `<|im_start|>role`, a line break, the text, `<|im_end|>`."""

from __future__ import annotations

from medray.data.templates.base import Blocks, ChatTemplate, block_jinja

END = "<|im_end|>"


def _chatml(start: str = "") -> Blocks:
    return Blocks(
        start=start,
        system="<|im_start|>system\n{content}<|im_end|>\n",
        user="<|im_start|>user\n{content}<|im_end|>\n",
        tool="<|im_start|>tool\n{content}<|im_end|>\n",
        header="<|im_start|>assistant\n",
        answer="{content}<|im_end|>",
        after="\n",
    )


_STARCHAT = Blocks(
    system="<|system|>\n{content}<|end|>\n",
    user="<|user|>\n{content}<|end|>\n",
    header="<|assistant|>",
    answer="\n{content}<|end|>",
    after="\n",
    always_system=True,
)

_QWEN_SYSTEM = "You are a helpful assistant."

TEMPLATES = (
    ChatTemplate("chatml", "any model trained on ChatML", block_jinja(_chatml()), (END,)),
    ChatTemplate(
        "qwen",
        "Qwen1.5, Qwen2, Qwen2.5",
        block_jinja(_chatml(), _QWEN_SYSTEM),
        (END,),
        default_system=_QWEN_SYSTEM,
        tool_format="qwen",
    ),
    ChatTemplate(
        "qwen3_nothink",
        "Qwen3 Instruct-2507 and other Qwen3 that never think",
        block_jinja(_chatml()),
        (END,),
        tool_format="qwen",
    ),
    ChatTemplate("yi", "Yi Chat, Yi-1.5 Chat", block_jinja(_chatml()), (END,)),
    ChatTemplate("intern2", "InternLM2 Chat", block_jinja(_chatml("{bos}")), (END,)),
    ChatTemplate("starchat", "StarChat alpha and beta", block_jinja(_STARCHAT), ("<|end|>",)),
)
