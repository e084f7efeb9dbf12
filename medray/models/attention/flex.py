"""Attention over packed rows as one FlexAttention kernel, for GPUs.

Where `attention.py` computes a block a prompt, this gives the whole row to PyTorch's FlexAttention with the rule of who
sees whom, and the kernel leaves out tiles of pairs that must not meet. The rule is two numbers a token: when a walk
through the row's prefix tree enters it, and when the walk has left everything that follows it. A token sees those that
the walk has entered and not left. PyTorch has no backward pass of it on CPUs; the tests use its reference
implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import (
    AuxRequest,
    BlockMask,
    create_block_mask,
    flex_attention,
)
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from medray.data.batches.packing import PackedRow
from medray.errors import ModelError
from medray.models.attention.shared_prefix import current_layout

FLEX = "medray_flex"


@dataclass(frozen=True)
class Walk:
    """A row's prefix tree as a walk through it; [T] each."""

    entered: Tensor
    left: Tensor
    position_ids: Tensor


def row_walk(row: PackedRow, device: torch.device) -> Walk:
    """The walk through a row: depth first, in the order of the tokens' places."""
    entered = np.full(len(row.token_ids), -1)
    left = np.zeros_like(entered)
    for path in sorted(row.paths(), key=tuple):
        new = path[entered[path] < 0]
        entered[new] = np.arange(len(new)) + entered.max() + 1
        left[path] = entered.max() + 1  # paths that begin alike follow one another
    at = torch.as_tensor(row.position_ids, device=device)
    return Walk(torch.as_tensor(entered, device=device), torch.as_tensor(left, device=device), at)


def plain_walk(num_tokens: int, device: torch.device) -> Walk:
    """Build the walk of a row that holds a single sequence."""
    at = torch.arange(num_tokens, device=device)
    return Walk(at, torch.full_like(at, num_tokens), at)


def block_mask(walk: Walk, mask_function: Callable[..., Any]) -> BlockMask:
    """Which tiles of the row a layer computes, and what it sees in them.

    Args:
        walk: of the row.
        mask_function: transformers' rule for the layer, (batch, head, query, key) -> bool, of positions in a sequence.
    """
    entered, left, at = walk.entered, walk.left, walk.position_ids

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        on_path = (entered[key] <= entered[query]) & (entered[query] < left[key])
        return on_path & mask_function(batch, head, at[query], at[key])

    return create_block_mask(seen, None, None, len(at), len(at), device=at.device)


def flex_tree_attention(
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

    Arguments are those of `attention.tree_attention`; the mask is the `BlockMask` that the mask interface made.

    Raises:
        ModelError: the architecture makes its masks itself, so its layers cannot be known.
    """
    if not isinstance(attention_mask, BlockMask):
        raise ModelError("flex attention needs masks made by transformers' mask interface")

    def capped(score: Tensor, *_: Tensor) -> Tensor:
        return score if softcap is None else softcap * torch.tanh(score / softcap)

    attended, aux = _kernel(query.is_cuda)(
        query,
        key,
        value,
        score_mod=None if softcap is None else capped,
        block_mask=attention_mask,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
        return_aux=AuxRequest(lse=s_aux is not None),
    )
    if s_aux is not None:  # the share of the softmax that is not the sink's
        attended = attended * torch.sigmoid(aux.lse - s_aux[None, :, None])[..., None].to(
            attended.dtype
        )
    return attended.transpose(1, 2), None


@cache
def _kernel(compiled: bool) -> Callable[..., Any]:
    # Row lengths vary. With static shapes every length recompiles (pytorch/pytorch#141486), and after the eighth
    # (`recompile_limit`) torch runs the eager version, which materializes all scores (vllm-project/vllm#27178).
    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


def _mask_interface(*, mask_function: Callable[..., Any], **kwargs: Any) -> BlockMask:
    return block_mask(current_layout(Walk), mask_function)


def register() -> None:
    """Make `attn_implementation="medray_flex"` known to transformers."""
    AttentionInterface.register(FLEX, flex_tree_attention)
    AttentionMaskInterface.register(FLEX, _mask_interface)
