"""Attention over packed rows whose sequences share what they begin with.

`tree_attention` computes, per prompt, a causal block for the prompt and one batched block for its
continuations, each of which sees the prompt and itself: pairs of tokens that must not meet cost nothing.
Tokens that several sequences share take part in the block of each and are computed, layer by layer, once.
It is registered with transformers' attention interface, so every model that uses the interface takes it.
Windows, chunks and whatever else a layer restricts come from the mask function that the model hands to
the mask interface, evaluated at positions in the sequence instead of places in the row.
`dense_mask` is the plain visibility as a mask, for architectures whose attention has to stay their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function

from medray.data.batches.packing import Indices, PackedRow
from medray.errors import ModelError

TREE = "medray_tree"
L = TypeVar("L")


Pieces = tuple[int, ...]
"""Which pieces of a row, one after another: it is cut where sequences part, and every piece used whole."""


@dataclass(frozen=True)
class Stem:
    """A sequence and how many of its last tokens no earlier block has computed."""

    path: Pieces  # [L] tokens
    num_own: int
    visible: Tensor | None  # [1, 1, num_own, L] bool; None: plain causality, all L tokens asking

    @property
    def num_queries(self) -> int | None:
        """The last so many tokens of the path ask; None for all."""
        return None if self.visible is None else self.num_own


@dataclass(frozen=True)
class Branches:
    """G continuations of one prompt as a padded block, R the longest of them."""

    prompt: Pieces  # [P] tokens
    own: int  # the piece that holds their own tokens
    shape: tuple[int, int]  # (G, R)
    slots: Tensor | None  # index into G * R of each own token; None when they fill it in order
    copies: tuple[Tensor, Tensor] | None  # further slots, and which own token is copied to each
    visible: Tensor  # [G, 1, R, P + R] bool


Block = Stem | Branches


@dataclass(frozen=True)
class RowLayout:
    """A row's blocks in row order, made once a row."""

    blocks: tuple[Block, ...]
    sizes: tuple[int, ...]  # tokens of each piece; they add up to T
    position_ids: Tensor  # [T]

    def cut(self, t: Tensor) -> tuple[Tensor, ...]:
        """`t` [T, ...] in pieces; the gradient is put together once, however often a piece is used."""
        return t.split(self.sizes)


@dataclass(frozen=True)
class RowMask:
    """What one kind of layer may see of a row; travels through the model as its attention mask.

    For each block of the layout a bool tensor, [1, 1, queries, L] or [G, 1, R, P + R], or None for plain causality.
    """

    layout: RowLayout
    visible: tuple[Tensor | None, ...]


# transformers' mask interface has no argument for the layout, so it is read from this context variable once per
# forward pass, when the model creates its masks. From there it travels as the attention mask: a layer recomputed in the
# backward pass (activation checkpointing) runs outside the context and still has it.
_LAYOUT: ContextVar[Any] = ContextVar("row_layout", default=None)


@contextmanager
def laid_out(layout: Any) -> Iterator[None]:
    """Within this context the mask interface makes its masks for `layout`: a `RowLayout`, or FlexAttention's `Walk`."""
    token = _LAYOUT.set(layout)
    try:
        yield
    finally:
        _LAYOUT.reset(token)


def current_layout(kind: type[L]) -> L:
    """The layout of the row that is being computed.

    Raises:
        ModelError: there is none of this kind.
    """
    layout = _LAYOUT.get()
    if not isinstance(layout, kind):
        raise ModelError(f"attention was called outside a packed row (no {kind.__name__} is set)")
    return layout


def row_layout(row: PackedRow, device: torch.device) -> RowLayout:
    """Build the index and mask tensors that `tree_attention` needs."""
    # A lone continuation goes on causally from its prompt.
    lone = [len(span.continuations) == 1 for span in row.spans]
    paths = [
        np.concatenate([span.prompt, *span.continuations]) if alone else span.prompt
        for span, alone in zip(row.spans, lone, strict=True)
    ]
    cursor = 0
    stems: list[tuple[Indices, int]] = []
    for path in sorted((p for p in paths if len(p)), key=lambda p: p[-1]):
        num_own = int(path[-1]) + 1 - cursor
        if num_own > 0:
            stems.append((path, num_own))
            cursor += num_own
    groups: list[tuple[Indices, int, list[Indices]]] = []
    for span, alone in zip(row.spans, lone, strict=True):
        own: list[Indices] = []
        start = cursor
        for at in sorted((c for c in span.continuations if len(c)), key=lambda c: c[-1]):
            if not alone and at[-1] >= cursor:  # else it is the beginning of another
                own.append(at - start)
                cursor = int(at[-1]) + 1
        if own:
            groups.append((span.prompt, start, own))
    used = [path for path, _ in stems] + [prompt for prompt, _, _ in groups]
    cuts = _cuts(used, [start for _, start, _ in groups], cursor)
    blocks: list[Block] = [
        Stem(_pieces(path, cuts), num_own, _seen_by_few(len(path), num_own, device))
        for path, num_own in stems
    ]
    blocks += [
        _branches(prompt, _pieces(prompt, cuts), int(np.searchsorted(cuts, start)), own, device)
        for prompt, start, own in groups
    ]
    positions = torch.as_tensor(row.position_ids, device=device)
    return RowLayout(tuple(blocks), tuple(np.diff(cuts).tolist()), positions)


def plain_layout(num_tokens: int, device: torch.device) -> RowLayout:
    """Build the layout of a row that holds a single sequence: plain causal attention."""
    at = torch.arange(num_tokens, device=device)
    return RowLayout((Stem((0,), num_tokens, None),), (num_tokens,), at)


def _cuts(paths: list[Indices], starts: list[int], num_tokens: int) -> Indices:
    """Where pieces begin, and the end: wherever a path leaves the row's order, begins or ends."""
    edges = [np.array([0, num_tokens, *starts])]
    for path in paths:
        jumps = np.flatnonzero(np.diff(path) != 1)
        edges += [path[:1], path[jumps] + 1, path[jumps + 1], path[-1:] + 1]
    return np.unique(np.concatenate(edges))


def _pieces(path: Indices, cuts: Indices) -> Pieces:
    """The pieces that a path is made of."""
    return tuple(np.flatnonzero(np.isin(cuts[:-1], path)).tolist())


def _seen_by_few(size: int, num_own: int, device: torch.device) -> Tensor | None:
    """The mask of a stem whose own tokens alone ask; None if fewer pairs are computed when all ask, causally."""
    if num_own >= (size + 1) // 2:
        return None
    step = torch.arange(size, device=device)
    return (step[size - num_own :, None] >= step)[None, None]


def _branches(
    prompt: Indices, pieces: Pieces, piece: int, own: list[Indices], device: torch.device
) -> Branches:
    """`own` are the continuations' places among the tokens of `piece`."""
    sizes = torch.tensor([len(at) for at in own], device=device)[:, None]
    longest = int(sizes.max())
    step = torch.arange(longest, device=device)
    filled = step < sizes  # [G, R]
    # Padding queries look at their own first token, so that no softmax is over nothing.
    seen = (step[:, None] >= step[None, :]) & (filled[:, None, :] | (step[None, :] == 0))
    visible = torch.cat([seen.new_ones(len(sizes), longest, len(prompt)), seen], dim=-1)
    taken = filled.flatten().nonzero()[:, 0]
    source = np.concatenate(own)
    places, first = np.unique(source, return_index=True)
    slots, copies = taken, None
    if len(places) < len(source):
        again = np.setdiff1d(np.arange(len(source)), first)
        slots = taken[torch.as_tensor(first, device=device)]
        further = taken[torch.as_tensor(again, device=device)]
        copies = further, torch.as_tensor(source[again], device=device)
    return Branches(
        prompt=pieces,
        own=piece,
        shape=(len(sizes), longest),
        slots=None if copies is None and bool(filled.all()) else slots,
        copies=copies,
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
    device, at = layout.position_ids.device, layout.cut(layout.position_ids)

    def allowed(query: Tensor, key: Tensor) -> Tensor:
        zero = torch.zeros((), dtype=torch.long, device=device)
        return torch.as_tensor(mask_function(zero, zero, query, key), device=device)

    visible: list[Tensor | None] = []
    for block in layout.blocks:
        own = _joined(at, block.path) if isinstance(block, Stem) else at[block.own]
        if plain or (reach is not None and int(own.max()) < reach):
            visible.append(block.visible)
        elif isinstance(block, Stem):
            asking = own if block.num_queries is None else own[-block.num_queries :]
            visible.append(allowed(asking[:, None], own[None, :])[None, None])
        else:
            rows = _pad(own[:, None, None], block)[..., 0, 0]  # [G, R]
            shared = _joined(at, block.prompt).expand(len(rows), -1)
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
        raise ModelError("tree attention needs masks made by transformers' mask interface")
    layout, terms = attention_mask.layout, _Terms(scaling, softcap, s_aux)
    q, k, v = (layout.cut(t[0].transpose(0, 1)) for t in (query, key, value))  # [T, H, D]
    outputs = []
    for block, visible in zip(layout.blocks, attention_mask.visible, strict=True):
        if isinstance(block, Stem):
            query, key, value = (_joined(t, block.path).transpose(0, 1)[None] for t in (q, k, v))
            if block.num_queries is not None:
                query = query[:, :, -block.num_queries :]
            attended = _attend(query, key, value, visible, terms)[0].transpose(0, 1)
            outputs.append(attended[-block.num_own :])
        else:
            outputs.append(_branched(q, k, v, block, visible, terms))
    return torch.cat(outputs)[None], None


def _joined(t: Sequence[Tensor], pieces: Pieces) -> Tensor:
    """The chosen pieces as one tensor [L, ...], without a copy where there is one."""
    return t[pieces[0]] if len(pieces) == 1 else torch.cat([t[i] for i in pieces] or [t[0][:0]])


def _branched(
    q: Sequence[Tensor],
    k: Sequence[Tensor],
    v: Sequence[Tensor],
    block: Branches,
    visible: Tensor | None,
    terms: _Terms,
) -> Tensor:
    num_branches = block.shape[0]
    keys, values = (
        torch.cat(
            [
                _joined(t, block.prompt).expand(num_branches, -1, -1, -1),
                _pad(t[block.own], block),
            ],
            dim=1,
        )  # [G, P + R, Hkv, D]
        for t in (k, v)
    )
    queries = _pad(q[block.own], block).transpose(1, 2)
    attended = _attend(queries, keys.transpose(1, 2), values.transpose(1, 2), visible, terms)
    flat = attended.transpose(1, 2).flatten(0, 1)  # [G * R, H, Dv]
    return flat if block.slots is None else flat.index_select(0, block.slots)


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


def _pad(own: Tensor, block: Branches) -> Tensor:
    """The continuations' tokens [U, H, D] as [G, R, H, D]; index_copy keeps the backward a plain gather."""
    if block.slots is not None:
        slots = block.slots
        if block.copies is not None:
            further, source = block.copies
            own = torch.cat([own, own.index_select(0, source)])
            slots = torch.cat([slots, further])
        size = block.shape[0] * block.shape[1]
        own = own.new_zeros(size, *own.shape[1:]).index_copy(0, slots, own)
    return own.reshape(*block.shape, *own.shape[1:])


def dense_mask(row: PackedRow, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The row's visibility as an additive mask [1, 1, T, T]: 0 where a token may look, the minimum elsewhere."""
    num_tokens = len(row.token_ids)
    visible = torch.zeros(num_tokens, num_tokens, dtype=torch.bool)
    for path in row.paths():
        at = torch.as_tensor(path)
        visible[at[:, None], at[None, :]] = at[:, None] >= at[None, :]
    mask = torch.zeros(num_tokens, num_tokens, dtype=dtype)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min).to(device)[None, None]


def _mask_interface(
    *,
    mask_function: Callable[..., Any],
    local_size: int | None = None,
    use_vmap: bool = False,
    **kwargs: Any,
) -> RowMask:
    layout = current_layout(RowLayout)
    # use_vmap says that the model added restrictions of its own to the window's.
    return row_mask(layout, mask_function, None if use_vmap else local_size)


def register() -> None:
    """Make `attn_implementation="medray_tree"` known to transformers."""
    AttentionInterface.register(TREE, tree_attention)
    AttentionMaskInterface.register(TREE, _mask_interface)
