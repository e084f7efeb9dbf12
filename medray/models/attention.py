"""Attention over packed rows whose continuations share their prompt.

`tree_attention` computes, per prompt, a causal block for the prompt and one batched block for its
continuations, each of which sees the prompt and itself: pairs of tokens that must not meet cost nothing.
It is registered with transformers' attention interface, so every model that uses the interface takes it.
Windows, chunks and whatever else a layer restricts come from the mask function that the model hands to
the mask interface, evaluated at positions in the sequence instead of places in the row.
`dense_mask` is the plain visibility as a mask, for architectures whose attention has to stay their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function

from medray.data.packing import PackedRow, TreeSpan
from medray.errors import ModelError

TREE = "medray_tree"


@dataclass(frozen=True)
class Branches:
    """The G >= 2 continuations of one prompt as a padded block, R the longest of them."""

    prompt: slice
    tokens: slice  # all continuations, adjacent in the row
    shape: tuple[int, int]  # (G, R)
    filled: Tensor | None  # [sum of lengths] index into G * R; None when there is no padding
    visible: Tensor  # [G, 1, R, P + R] bool


@dataclass(frozen=True)
class RowLayout:
    """A row's blocks in row order, made once a row."""

    blocks: tuple[slice | Branches, ...]  # a slice is a causal block
    position_ids: Tensor  # [T]


@dataclass(frozen=True)
class RowMask:
    """What one kind of layer may see of a row; travels through the model as its attention mask.

    For each block of the layout a bool tensor, [1, 1, L, L] or [G, 1, R, P + R], or None for plain causality.
    """

    layout: RowLayout
    visible: tuple[Tensor | None, ...]


_LAYOUT: ContextVar[RowLayout | None] = ContextVar("row_layout", default=None)


@contextmanager
def laid_out(layout: RowLayout) -> Iterator[None]:
    """Within this context the mask interface makes its masks for `layout`."""
    token = _LAYOUT.set(layout)
    try:
        yield
    finally:
        _LAYOUT.reset(token)


def row_layout(row: PackedRow, device: torch.device) -> RowLayout:
    """Build the index and mask tensors that `tree_attention` needs."""
    blocks: list[slice | Branches] = []
    for span in row.spans:
        if len(span.continuations) < 2:  # a lone continuation goes on causally from its prompt
            blocks.append(
                slice(
                    span.prompt[0],
                    span.continuations[-1][1] if span.continuations else span.prompt[1],
                )
            )
            continue
        if span.prompt[1] > span.prompt[0]:
            blocks.append(slice(*span.prompt))
        blocks.append(_branches(span, device))
    return RowLayout(tuple(blocks), torch.as_tensor(row.position_ids, device=device))


def _branches(span: TreeSpan, device: torch.device) -> Branches:
    sizes = torch.tensor([end - start for start, end in span.continuations], device=device)[:, None]
    longest = int(sizes.max())
    step = torch.arange(longest, device=device)
    filled = step < sizes  # [G, R]
    num_prompt = span.prompt[1] - span.prompt[0]
    # Padding queries look at their own first token, so that no softmax is over nothing.
    own = (step[:, None] >= step[None, :]) & (filled[:, None, :] | (step[None, :] == 0))
    visible = torch.cat([own.new_ones(len(sizes), longest, num_prompt), own], dim=-1)
    return Branches(
        prompt=slice(*span.prompt),
        tokens=slice(span.continuations[0][0], span.continuations[-1][1]),
        shape=(len(sizes), longest),
        filled=None if bool(filled.all()) else filled.flatten().nonzero()[:, 0],
        visible=visible[:, None],
    )


def row_mask(layout: RowLayout, mask_function: Callable[..., Any], reach: int | None) -> RowMask:
    """The visibility of a layer whose tokens are restricted by `mask_function`.

    Args:
        layout: of the row.
        mask_function: transformers' mask function (batch, head, query position, key position) -> bool.
        reach: sequences of at most so many tokens are plainly causal under it; None when unknown.
    """
    plain = mask_function is causal_mask_function
    at = layout.position_ids

    def allowed(query: Tensor, key: Tensor) -> Tensor:
        zero = torch.zeros((), dtype=torch.long, device=at.device)
        return torch.as_tensor(mask_function(zero, zero, query, key), device=at.device)

    visible: list[Tensor | None] = []
    for block in layout.blocks:
        own = at[block] if isinstance(block, slice) else at[block.tokens]
        short = plain or (reach is not None and int(own.max()) < reach)
        if isinstance(block, slice):
            visible.append(None if short else allowed(own[:, None], own[None, :])[None, None])
        elif short:
            visible.append(block.visible)
        else:
            rows = _pad(at[:, None, None], block)[..., 0, 0]  # [G, R]
            shared = at[block.prompt].expand(len(rows), -1)
            keys = torch.cat([shared, rows], dim=1)
            seen = block.visible & allowed(rows[:, :, None], keys[:, None, :])[:, None]
            # A padding query may fall out of every window; nothing reads what it computes.
            visible.append(seen | ~seen.any(-1, keepdim=True))
    return RowMask(layout, tuple(visible))


@dataclass(frozen=True)
class _Terms:
    scale: float | None
    softcap: float | None
    sinks: Tensor | None


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,  # [1, H, T, D]
    key: Tensor,  # [1, Hkv, T, D]
    value: Tensor,  # [1, Hkv, T, Dv]
    attention_mask: Any,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention function for transformers' interface; returns ([1, T, H, Dv], None).

    Args:
        module, query, key, value: as transformers passes them.
        attention_mask: the `RowMask` that the mask interface made.
        scaling: factor of the scores; None takes 1 / sqrt(D).
        softcap: bound of the scores (Gemma 2, arXiv:2408.00118).
        s_aux: [H] logits of attention sinks, which take part in the softmax and add nothing (gpt-oss).
        kwargs: ignored; windows are in the mask.

    Raises:
        ModelError: the architecture makes its masks itself, so its layers cannot be known.
    """
    if not isinstance(attention_mask, RowMask):
        raise ModelError("tree attention needs the masks of transformers' mask interface")
    layout, terms = attention_mask.layout, _Terms(scaling, softcap, s_aux)
    q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))  # [T, H, D]
    pieces = []
    for block, visible in zip(layout.blocks, attention_mask.visible, strict=True):
        if isinstance(block, slice):
            query, key, value = (t[block].transpose(0, 1)[None] for t in (q, k, v))
            pieces.append(_attend(query, key, value, visible, terms)[0].transpose(0, 1))
        else:
            pieces.append(_branched(q, k, v, block, visible, terms))
    return torch.cat(pieces)[None], None


def _branched(
    q: Tensor, k: Tensor, v: Tensor, block: Branches, visible: Tensor | None, terms: _Terms
) -> Tensor:
    num_branches, longest = block.shape
    keys, values = (
        torch.cat(
            [t[block.prompt].expand(num_branches, -1, -1, -1), _pad(t, block)], dim=1
        )  # [G, P + R, Hkv, D]
        for t in (k, v)
    )
    queries = _pad(q, block).transpose(1, 2)
    attended = _attend(queries, keys.transpose(1, 2), values.transpose(1, 2), visible, terms)
    flat = attended.transpose(1, 2).reshape(num_branches * longest, q.shape[1], v.shape[-1])
    return flat if block.filled is None else flat.index_select(0, block.filled)


def _attend(
    q: Tensor,  # [B, H, L, D]
    k: Tensor,  # [B, Hkv, S, D]
    v: Tensor,
    visible: Tensor | None,
    terms: _Terms,
) -> Tensor:
    """Fused attention where there is a kernel for it, else the formula itself."""
    scale, softcap, sinks = terms.scale, terms.softcap, terms.sinks
    if softcap is None and sinks is None:
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=visible,
            is_causal=visible is None,
            scale=scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )
    if q.shape[1] != k.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for t in (k, v))
    scores = (q @ k.transpose(-1, -2)) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if visible is None:
        step = torch.arange(q.shape[2], device=q.device)
        visible = step[:, None] >= step[None, :]
    scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    if sinks is not None:
        column = sinks.to(scores.dtype)[None, :, None, None].expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, column], dim=-1)
    weights = scores.softmax(-1, dtype=torch.float32).to(v.dtype)
    return weights[..., : k.shape[2]] @ v


def _pad(t: Tensor, block: Branches) -> Tensor:
    """The continuations' part of `t` [T, H, D] as [G, R, H, D]; index_copy keeps the backward a plain gather."""
    own = t[block.tokens]
    if block.filled is not None:
        size = block.shape[0] * block.shape[1]
        own = own.new_zeros(size, *own.shape[1:]).index_copy(0, block.filled, own)
    return own.reshape(*block.shape, *t.shape[1:])


def dense_mask(row: PackedRow, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The row's visibility as an additive mask [1, 1, T, T]: 0 where a token may look, the minimum elsewhere."""
    num_tokens = len(row.token_ids)
    tree = torch.empty(num_tokens, dtype=torch.long)
    branch = torch.full((num_tokens,), -1)  # -1: part of a prompt
    branches = 0
    for number, span in enumerate(row.spans):
        tree[slice(*span.prompt)] = number
        for continuation in span.continuations:
            tree[slice(*continuation)] = number
            branch[slice(*continuation)] = branches
            branches += 1
    step = torch.arange(num_tokens)
    visible = (
        (step[:, None] >= step[None, :])
        & (tree[:, None] == tree[None, :])
        & ((branch[None, :] == -1) | (branch[:, None] == branch[None, :]))
    )
    mask = torch.zeros(num_tokens, num_tokens, dtype=dtype)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min).to(device)[None, None]


def _mask_interface(
    *,
    mask_function: Callable[..., Any],
    local_size: int | None = None,
    use_vmap: bool = False,
    **kwargs: Any,
) -> RowMask:
    layout = _LAYOUT.get()
    if layout is None:
        raise ModelError("tree attention was called without a row layout")
    # use_vmap says that the model added restrictions of its own to the window's.
    return row_mask(layout, mask_function, None if use_vmap else local_size)


def register() -> None:
    """Make `attn_implementation="medray_tree"` known to transformers."""
    AttentionInterface.register(TREE, tree_attention)
    AttentionMaskInterface.register(TREE, _mask_interface)
