"""Character spans to tokens, tokenising once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medray.types import TokenIds

Bounds = npt.NDArray[np.int64]
CharSpan = tuple[int, int]


class Encoded(NamedTuple):
    """Tokens of a text and the span each belongs to."""

    token_ids: TokenIds  # [T]
    span: npt.NDArray[np.int32]  # [T] index of the token's span, -1 outside all of them


def encode(tokenizer: Any, text: str, spans: Sequence[CharSpan]) -> Encoded:
    """Tokenise `text` and tell which tokens lie within which span.

    The tokens are those of the whole text, unless one of them would straddle the edge of a span. The text is
    then cut there and the parts are tokenised alone: at inference the prompt ends at that very edge. Where the
    tokenizer cannot do that without changing the text, a straddling token belongs to no span.

    Args:
        tokenizer: a transformers tokenizer; one without offsets (a slow one) works, tokenising twice.
        text: rendered, special tokens included.
        spans: disjoint half-open character ranges, in order.
    """
    whole = _tokenise(tokenizer, text)
    edges = {edge for span in spans for edge in span if 0 < edge < len(text)}
    cuts: set[int] = set()
    parts = [whole]
    while crossed := _crossed(parts, edges - cuts):
        cuts |= crossed  # which may make other tokens cross other edges
        bounds = [0, *sorted(cuts), len(text)]
        parts = [_tokenise(tokenizer, text[a:b], a) for a, b in pairwise(bounds)]
    joined = np.concatenate([part.token_ids for part in parts])
    same = len(parts) == 1 or np.array_equal(joined, whole.token_ids)
    if same or _decode(tokenizer, joined) == _decode(tokenizer, whole.token_ids):
        return Encoded(joined, np.concatenate([_spans_of(part, spans) for part in parts]))
    return Encoded(whole.token_ids, _spans_of(whole, spans))


class _Part(NamedTuple):
    token_ids: TokenIds  # [T]
    bounds: Bounds  # [T, 2] characters of the whole text; those of the part where the tokenizer does not tell


def _crossed(parts: Sequence[_Part], edges: set[int]) -> set[int]:
    """Edges that lie within a token."""
    starts, ends = np.concatenate([part.bounds for part in parts]).T
    return {edge for edge in edges if np.any((starts < edge) & (edge < ends))}


def _spans_of(part: _Part, spans: Sequence[CharSpan]) -> npt.NDArray[np.int32]:
    starts, ends = part.bounds.T
    found = np.full(len(part.token_ids), -1, dtype=np.int32)
    for i, (start, end) in enumerate(spans):
        found[(starts >= start) & (ends <= end) & (starts < end)] = i
    return found


def _tokenise(tokenizer: Any, text: str, offset: int = 0) -> _Part:
    """Tokens of a part that begins at character `offset`."""
    fast = bool(getattr(tokenizer, "is_fast", False))
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=fast, return_attention_mask=False,
        verbose=False,
    )  # fmt: skip
    ids = np.asarray(encoded["input_ids"], dtype=np.int32)
    if fast:
        bounds = np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        before = np.concatenate([[0], bounds[:, 1]])
        if np.all(bounds[:, 0] <= before[:-1]) and before[-1] == len(text):  # without a gap
            return _Part(ids, bounds + offset)
    whole = np.array([[offset, offset + len(text)]], dtype=np.int64)
    return _Part(ids, np.repeat(whole, len(ids), axis=0))


def _decode(tokenizer: Any, token_ids: TokenIds) -> str:
    return tokenizer.decode(
        token_ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
