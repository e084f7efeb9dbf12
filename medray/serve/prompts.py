"""Prompts between text and token ids, by the served model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=16)
def _tokenizer(source: str, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)


def num_tokens(source: str, prompt: str | Sequence[int], *, trust_remote_code: bool = False) -> int:
    """Tokens of a prompt, by the tokenizer of the model at `source`."""
    if not isinstance(prompt, str):
        return len(prompt)
    return len(_tokenizer(source, trust_remote_code)(prompt)["input_ids"])


def decoded(source: str, token_ids: Sequence[int], *, trust_remote_code: bool = False) -> str:
    """The text of `token_ids`, which the safety rules read; ids that the tokenizer lacks are left out."""
    tokenizer = _tokenizer(source, trust_remote_code)
    known = [token for token in token_ids if 0 <= token < len(tokenizer)]
    return str(tokenizer.decode(known, skip_special_tokens=False))
