"""Tokenizers and generated dialogues for tests of chat rendering."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer(
    *special: str, bos: str | None = "<s>", eos: str | None = "</s>", template: str | None = CHATML
) -> PreTrainedTokenizerFast:
    """One token a byte, and one for each special text."""
    named = [text for text in (bos, eos, *special) if text]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate([*named, *alphabet])}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(named)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=bos, eos_token=eos)
    tokenizer.chat_template = template
    return tokenizer


def decoded(tokenizer: Any, token_ids: Any) -> str:
    """Text of tokens, special ones included."""
    return tokenizer.decode(
        [int(t) for t in token_ids], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )


def chat(*turns: str) -> list[dict[str, Any]]:
    """Messages from "role: text" lines; roles by their first letter (s, u, a, t)."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    pairs = (turn.split(":", 1) for turn in turns)
    return [{"role": roles[role], "content": text} for role, text in pairs]


# Texts that mean something to templates are tested by name; hypothesis would take them from the source.
_MARKS = (
    "think>",
    "<|",
    "|>",
    "<s>",
    "</s>",
    "<unk>",
    "<eo",
    "<tool_",
    "[INST",
    "[/INST",
    "<reserved",
    "<｜",
)

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "\n", " leading", "trailing ", "\n\nlines\n", "发烧怎么办？", "😷 e\u0301", "a  b", "1.\n2."]
    ),
    st.builds("{}{}{}".format, st.sampled_from(["", " ", "\n", "\t"]), st.text(max_size=6), st.text(max_size=6)),
)  # fmt: skip
TEXTS = TEXTS.filter(lambda text: not any(mark in text for mark in _MARKS))


@st.composite
def dialogues(
    draw: st.DrawFn, *, roles: tuple[str, ...] = ("user", "assistant", "tool"), texts: Any = TEXTS
) -> list[dict[str, Any]]:
    """Any order of roles, a system message or none before them, at least one answer."""
    order = draw(st.lists(st.sampled_from(roles), min_size=0, max_size=6))
    order.insert(draw(st.integers(0, len(order))), "assistant")
    if draw(st.booleans()):
        order.insert(0, "system")
    return [{"role": role, "content": draw(texts)} for role in order]
