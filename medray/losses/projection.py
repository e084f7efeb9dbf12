"""Matrix products of the output head, accumulated in at least float32 whatever the inputs' type."""

from collections.abc import Iterator

import torch
from torch import Tensor

VOCAB_TILE = 8192
"""Rows of a low-precision weight that are upcast at once; bounds the float32 copy."""


def accumulator_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 when an input is float64, else float32."""
    wide = any(t.dtype == torch.float64 for t in tensors)
    return torch.float64 if wide else torch.float32


def project(hidden: Tensor, weight: Tensor, out: Tensor) -> None:
    """Writes hidden [N D] @ weight [V D].T into out [N V], in out's precision."""
    if hidden.dtype == weight.dtype == out.dtype:
        torch.mm(hidden, weight.t(), out=out)
    elif _has_mixed_kernel(hidden, weight):
        torch.mm(hidden, weight.t(), out_dtype=out.dtype, out=out)
    else:
        hidden = hidden.to(out.dtype)
        for tile in _vocab_tiles(weight):
            torch.mm(hidden, weight[tile].to(out.dtype).t(), out=out[:, tile])


def project_back(grad_logits: Tensor, weight: Tensor) -> Tensor:
    """grad_logits [N V] @ weight [V D], in grad_logits' precision."""
    if weight.dtype == grad_logits.dtype:
        return grad_logits @ weight
    if weight.is_cuda:
        return torch.mm(grad_logits.to(weight.dtype), weight, out_dtype=grad_logits.dtype)
    grad = grad_logits.new_zeros(len(grad_logits), weight.shape[1])
    for tile in _vocab_tiles(weight):
        grad.addmm_(grad_logits[:, tile], weight[tile].to(grad.dtype))
    return grad


def accumulate_outer(total: Tensor | None, grad_logits: Tensor, hidden: Tensor) -> Tensor:
    """total [V D] + grad_logits [N V].T @ hidden [N D], in place once a total exists."""
    if _has_mixed_kernel(hidden, hidden):
        low = grad_logits.to(hidden.dtype).t()
        product = torch.mm(low, hidden, out_dtype=grad_logits.dtype)
        return product if total is None else total.add_(product)
    hidden = hidden.to(grad_logits.dtype)
    if total is None:
        return grad_logits.t() @ hidden
    return total.addmm_(grad_logits.t(), hidden)


def _has_mixed_kernel(left: Tensor, right: Tensor) -> bool:
    """CUDA multiplies two half-precision matrices into a float32 result; the CPU does not."""
    half = (torch.bfloat16, torch.float16)
    return left.is_cuda and left.dtype in half and left.dtype == right.dtype


def _vocab_tiles(weight: Tensor) -> Iterator[slice]:
    for start in range(0, len(weight), VOCAB_TILE):
        yield slice(start, min(start + VOCAB_TILE, len(weight)))
