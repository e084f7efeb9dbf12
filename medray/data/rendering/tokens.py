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
    whole, bounds = _tokenise(tokenizer, text)
    edges = sorted({edge for span in spans for edge in span})
    if bounds is not None:
        crossed = [edge for edge in edges if _crosses(bounds, edge)]
        if not crossed:
            return Encoded(whole, _within(bounds, spans))
        edges = crossed
    cut = [0, *(edge for edge in edges if 0 < edge < len(text)), len(text)]
    parts = [_tokenise(tokenizer, text[a:b]) for a, b in pairwise(cut)]
    joined = np.concatenate([part[0] for part in parts])
    if not (
        np.array_equal(joined, whole) or _decode(tokenizer, joined) == _decode(tokenizer, whole)
    ):
        if bounds is None:
            return Encoded(whole, np.full(len(whole), -1, dtype=np.int32))
        return Encoded(whole, _within(bounds, spans))
    return Encoded(joined, np.concatenate(_part_spans(parts, cut, spans)))


def _part_spans(
    parts: Sequence[tuple[TokenIds, Bounds | None]], cut: Sequence[int], spans: Sequence[CharSpan]
) -> list[npt.NDArray[np.int32]]:
    found: list[npt.NDArray[np.int32]] = []
    for (ids, bounds), (start, end) in zip(parts, pairwise(cut), strict=True):
        if bounds is not None:
            found.append(_within(bounds + start, spans))
        else:
            inside = [i for i, (a, b) in enumerate(spans) if a <= start and end <= b]
            found.append(np.full(len(ids), inside[0] if inside else -1, dtype=np.int32))
    return found


def _tokenise(tokenizer: Any, text: str) -> tuple[TokenIds, Bounds | None]:
    """Token ids [T], and their character bounds [T, 2] when these cover the text without a gap."""
    fast = bool(getattr(tokenizer, "is_fast", False))
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=fast, return_attention_mask=False,
        verbose=False,
    )  # fmt: skip
    ids = np.asarray(encoded["input_ids"], dtype=np.int32)
    if not fast:
        return ids, None
    bounds = np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    ends = np.concatenate([[0], bounds[:, 1]])
    covered = bool(np.all(bounds[:, 0] <= ends[:-1])) and ends[-1] == len(text)
    return ids, bounds if covered else None


def _crosses(bounds: Bounds, edge: int) -> bool:
    return bool(np.any((bounds[:, 0] < edge) & (edge < bounds[:, 1])))


def _within(bounds: Bounds, spans: Sequence[CharSpan]) -> npt.NDArray[np.int32]:
    found = np.full(len(bounds), -1, dtype=np.int32)
    for i, (start, end) in enumerate(spans):
        inside = (bounds[:, 0] >= start) & (bounds[:, 1] <= end) & (bounds[:, 0] < end)
        found[inside] = i
    return found


def _decode(tokenizer: Any, token_ids: TokenIds) -> str:
    return tokenizer.decode(
        token_ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
