"""Log-probabilities of chosen tokens straight from hidden states.

The logits of N positions over V tokens are by far the largest tensor of a step, and only one number
per position is wanted. They are made a chunk at a time, turned into their gradient in place, and
forgotten.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from medray.losses.projection import accumulate_outer, accumulator_dtype, project, project_back

CPU_TILE_NUMEL = 1 << 20
"""Logits worked on at once on a CPU: several elementwise passes then run from cache."""
GPU_TILE_NUMEL = 1 << 26


@dataclass(frozen=True, slots=True)
class _Head:
    """What happens between the head's matrix product and the softmax."""

    temperature: float
    softcap: float | None
    scale: float

    def shape_(self, logits: Tensor, bias: Tensor | None) -> None:
        """Turns products hidden @ W.T into final logits, in place."""
        if bias is not None:
            logits.add_(bias)
        if self.softcap is not None:
            logits.mul_(self.scale / self.softcap).tanh_().mul_(self.softcap / self.temperature)
        elif self.scale != self.temperature:
            logits.mul_(self.scale / self.temperature)

    def slope(self, logits: Tensor) -> Tensor | None:
        """Derivative of the softcap, given final logits; None without one."""
        if self.softcap is None:
            return None
        return (logits * (self.temperature / self.softcap)).square_().neg_().add_(1)


def token_logprobs(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    targets: Int[Tensor, " N"],
    *,
    bias: Float[Tensor, " V"] | None = None,
    temperature: float = 1.0,
    softcap: float | None = None,
    scale: float = 1.0,
    chunk: int = 1024,
    with_entropy: bool = False,
    hits: Bool[Tensor, " N"] | None = None,
    collisions: Float[Tensor, " N"] | None = None,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"] | None]:
    """Log-probability of one token per position, and the entropy of its distribution.

    logits = cap(scale * (hidden @ weight.T + bias)) / temperature, where cap(x) = softcap * tanh(x
    / softcap) when a softcap is given; logp = logits[target] - logsumexp(logits); entropy = -sum(p
    * log p).

    At most one [chunk, V] buffer of logits exists at any time. The last chunk is kept for the
    backward pass and the others are computed again in it, so nothing is computed twice while N <=
    chunk. Positions whose incoming gradient is zero (clipped or masked tokens) are left out of the
    backward pass. Gradients flow to hidden, weight and bias, each only when it requires one; second
    derivatives are not available.

    Args:
        hidden: last hidden state at the N positions that are scored, and only those.
        weight: the output head.
        targets: token ids in [0, V).
        bias: added to the products, when the head has one.
        temperature: logits are divided by it, as the sampler divides them.
        softcap: bound of the logits' absolute value before the temperature (Gemma 2,
            arXiv:2408.00118).
        scale: factor of the logits before the softcap.
        chunk: positions whose logits are held at once.
        with_entropy: also return the entropy, differentiable.
        hits: filled, where given, with whether the target is the most likely token (ties count).
        collisions: filled, where given, with log sum(p^2), nats; no gradient.

    Returns:
        logp and entropy in nats, float32 (float64 for float64 inputs); entropy is None unless asked
        for.

    Raises:
        ValueError: temperature, softcap or chunk is not positive.
    """
    if temperature <= 0 or chunk < 1 or (softcap is not None and softcap <= 0):
        raise ValueError(
            f"temperature={temperature}, softcap={softcap} and chunk={chunk} must all be positive"
        )
    head = _Head(temperature, softcap, scale)
    apply = cast(
        "Callable[..., tuple[Tensor, Tensor | None]]",
        _TokenLogprobs.apply,  # pyright: ignore[reportUnknownMemberType]
    )
    return apply(hidden, weight, bias, targets, head, chunk, with_entropy, hits, collisions)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        head: _Head,
        chunk: int,
        with_entropy: bool,
        hits: Tensor | None,
        collisions: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        num, vocab = len(hidden), len(weight)
        dtype = accumulator_dtype(hidden, weight)
        logp, logsumexp = hidden.new_empty(num, dtype=dtype), hidden.new_empty(num, dtype=dtype)
        entropy = torch.empty_like(logp) if with_entropy else None
        buffer = hidden.new_empty(min(chunk, num), vocab, dtype=dtype)
        for part in _chunks(num, chunk):
            logits = buffer[: part.stop - part.start]
            project(hidden[part], weight, out=logits)
            for rows in _tiles(logits):
                tile, at = logits[rows], slice(part.start + rows.start, part.start + rows.stop)
                head.shape_(tile, bias)
                index = targets[at, None].long()
                picked = tile.gather(1, index).squeeze(1)
                torch.log_softmax(tile, -1, out=tile)
                logp[at] = tile.gather(1, index).squeeze(1)
                logsumexp[at] = picked - logp[at]
                if hits is not None:
                    hits[at] = tile.amax(-1) <= logp[at]
                if entropy is not None:
                    entropy[at] = tile.exp().mul_(tile).sum(-1).neg_()
                if collisions is not None:
                    collisions[at] = tile.mul(2).logsumexp(-1)
        # The buffer holds the last chunk's log-softmax. The backward pass overwrites it, so it is
        # not saved as a tensor of the graph; a second backward pass finds None and computes anew.
        ctx.kept, ctx.head, ctx.chunk = buffer, head, chunk
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden, weight, bias, targets, logsumexp, entropy)
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Any, ...]:
        # Autocast leaves products written to a given output alone, as in forward, but no others.
        with torch.autocast(ctx.saved_tensors[0].device.type, enabled=False):
            return *_TokenLogprobs._gradients(ctx, *grad_outputs), *([None] * 6)

    @staticmethod
    def _gradients(
        ctx: Any, grad_logp: Tensor | None, grad_entropy: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        hidden, weight, bias, targets, logsumexp, entropy = ctx.saved_tensors
        kept, ctx.kept = ctx.kept, None
        grad_logp = torch.zeros_like(logsumexp) if grad_logp is None else grad_logp
        active = grad_logp != 0
        if grad_entropy is not None:
            active |= grad_entropy != 0
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.zeros_like(hidden) if wants_hidden else None
        grad_weight = grad_bias = None
        buffer = torch.empty_like(logsumexp[:0]) if kept is None else kept
        for part in reversed(_chunks(len(hidden), ctx.chunk)):
            rows = part.start + active[part].nonzero().squeeze(1)
            if len(rows) == 0:
                continue
            whole = len(rows) == part.stop - part.start
            at = part if whole else rows
            if kept is not None and part.stop == len(hidden):
                logits = _select_rows_(kept, None if whole else rows - part.start)
            else:
                if len(buffer) < len(rows):
                    buffer = logsumexp.new_empty(min(ctx.chunk, len(hidden)), len(weight))
                logits = buffer[: len(rows)]
                project(hidden[at], weight, out=logits)
                _log_softmax_(logits, ctx.head, bias, logsumexp[at])
            ent = None if grad_entropy is None else (grad_entropy[at], entropy[at])
            _to_gradient_(logits, ctx.head, targets[at], grad_logp[at], logsumexp[at], ent)
            if grad_hidden is not None:
                grad_hidden[at] = project_back(logits, weight).to(hidden.dtype)
            if wants_weight:
                grad_weight = accumulate_outer(grad_weight, logits, hidden[at])
            if wants_bias:
                total = logits.sum(0)
                grad_bias = total if grad_bias is None else grad_bias.add_(total)
        if wants_weight:
            grad_weight = torch.zeros_like(weight) if grad_weight is None else grad_weight
        if wants_bias:
            grad_bias = torch.zeros_like(bias) if grad_bias is None else grad_bias
        return grad_hidden, grad_weight, grad_bias


def _log_softmax_(logits: Tensor, head: _Head, bias: Tensor | None, logsumexp: Tensor) -> None:
    for rows in _tiles(logits):
        head.shape_(logits[rows], bias)
        logits[rows].sub_(logsumexp[rows, None])


def _to_gradient_(
    logp: Tensor,
    head: _Head,
    targets: Tensor,
    grad_logp: Tensor,
    logsumexp: Tensor,
    entropy: tuple[Tensor, Tensor] | None,
) -> None:
    """Overwrites log-probabilities [N V] with the gradient at the head's matrix product.

    d logp / d logit_v = [v is target] - p_v, and d entropy / d logit_v = -p_v (log p_v + entropy).
    """
    step = head.scale / head.temperature
    grad_logp = grad_logp[:, None] * step
    for rows in _tiles(logp):
        tile, g = logp[rows], grad_logp[rows]
        slope = head.slope(tile + logsumexp[rows, None]) if head.softcap is not None else None
        factor = -g
        if entropy is not None:
            grad, value = entropy[0][rows, None] * step, entropy[1][rows, None]
            factor = tile.mul(-grad).sub_(g + grad * value)
        tile.exp_().mul_(factor)
        tile.scatter_add_(1, targets[rows, None].long(), g)
        if slope is not None:
            tile.mul_(slope)


def _select_rows_(kept: Tensor, rows: Tensor | None) -> Tensor:
    """The chosen rows (ascending) moved to the front of the buffer, a tile at a time."""
    if rows is None:
        return kept
    for to in _tiles(kept[: len(rows)]):
        kept[to] = kept[rows[to]]
    return kept[: len(rows)]


def _chunks(num: int, chunk: int) -> list[slice]:
    """Slices of at most `chunk` positions; a short one comes first, so the kept one is full."""
    first = num % chunk or min(num, chunk)
    edges = [0, *range(first, num + 1, chunk)] if num else []
    return [slice(a, b) for a, b in pairwise(edges)]


def _tiles(logits: Tensor) -> Iterator[slice]:
    budget = GPU_TILE_NUMEL if logits.is_cuda else CPU_TILE_NUMEL
    step = max(1, budget // logits.shape[1])
    for start in range(0, len(logits), step):
        yield slice(start, min(start + step, len(logits)))
