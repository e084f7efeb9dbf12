"""Attention over packed rows whose continuations share their prompt.

`tree_attention` computes, per prompt, a causal block for the prompt and one batched block for its
continuations, each of which sees the prompt and itself: pairs of tokens that must not meet cost nothing.
It is registered with transformers' attention interface, so every model that uses the interface takes it.
`dense_mask` is the same visibility as a mask, for architectures whose attention has to stay their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

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
    """A row's blocks in row order, made once a row and used by every layer."""

    blocks: tuple[slice | Branches, ...]  # a slice is a causal block
    position_ids: Tensor  # [T]


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


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,  # [1, H, T, D]
    key: Tensor,  # [1, Hkv, T, D]
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    layout: RowLayout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention function for transformers' interface; returns ([1, T, H, D], None).

    Raises:
        ModelError: the architecture's attention has terms this function does not compute.
    """
    if layout is None:
        raise ModelError("tree attention was called without a row layout")
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        raise ModelError(
            "this architecture soft-caps attention or uses sinks: set model.attention=dense"
        )
    q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))  # [T, H, D]
    pieces = [
        _causal(q, k, v, block, layout, scaling, sliding_window)
        if isinstance(block, slice)
        else _branched(q, k, v, block, layout, scaling, sliding_window)
        for block in layout.blocks
    ]
    return torch.cat(pieces)[None], None


def _causal(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    span: slice,
    layout: RowLayout,
    scale: float | None,
    window: int | None,
) -> Tensor:
    mask = None
    if window is not None and span.stop - span.start > window:
        at = layout.position_ids[span]
        distance = at[:, None] - at[None, :]
        mask = ((distance >= 0) & (distance < window))[None, None]
    return F.scaled_dot_product_attention(
        *(t[span].transpose(0, 1)[None] for t in (q, k, v)),
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )[0].transpose(0, 1)


def _branched(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block: Branches,
    layout: RowLayout,
    scale: float | None,
    window: int | None,
) -> Tensor:
    num_branches, longest = block.shape
    keys, values = (
        torch.cat(
            [t[block.prompt].expand(num_branches, -1, -1, -1), _pad(t, block)], dim=1
        )  # [G, P + R, Hkv, D]
        for t in (k, v)
    )
    visible = block.visible
    if window is not None:
        at = _pad(layout.position_ids[:, None, None], block)[..., 0, 0]  # [G, R]
        of_keys = torch.cat([layout.position_ids[block.prompt].expand(num_branches, -1), at], dim=1)
        visible = visible & (at[:, :, None] - of_keys[:, None, :] < window)[:, None]
    attended = F.scaled_dot_product_attention(
        _pad(q, block).transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=visible,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    flat = attended.transpose(1, 2).reshape(num_branches * longest, *q.shape[1:])
    return flat if block.filled is None else flat.index_select(0, block.filled)


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


def register() -> None:
    """Make `attn_implementation="medray_tree"` known to transformers."""
    AttentionInterface.register(TREE, tree_attention)
    AttentionMaskInterface.register(TREE, lambda *args, **kwargs: None)
