"""Texts of prompts that come as token ids, so that the safety rules read what the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=16)
def _tokenizer(source: str, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)


def decoded(source: str, token_ids: Sequence[int], *, trust_remote_code: bool = False) -> str:
    """The text of `token_ids` by the tokenizer of the model at `source`; ids that it lacks are left out."""
    tokenizer = _tokenizer(source, trust_remote_code)
    known = [token for token in token_ids if 0 <= token < len(tokenizer)]
    return str(tokenizer.decode(known, skip_special_tokens=False))
