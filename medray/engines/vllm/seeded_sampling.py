"""Sampling with a seed a request, on a CPU, by one random number a token.

vLLM draws an exponential number for every token of the vocabulary and, where requests have generators, one request at a
time (its own TODO in `random_sample`, vllm/v1/sample/ops/topk_topp_sampler.py): a third of a rollout of short answers
here. The inverse of the cumulative distribution needs one number per token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

LARGEST = 1 - 2**-40  # so that rounding never leads beyond the last token


def draw(probs: Tensor, generators: Mapping[int, torch.Generator]) -> Tensor:
    """One token [B] of each distribution [B, V], which need not add up to one exactly.

    Args:
        probs: float32; a token of probability zero is never drawn.
        generators: of each row; every token takes one number from its own.
    """
    cumulative = probs.cumsum(-1, dtype=torch.float64)
    uniform = torch.stack(
        [torch.rand(1, generator=generators[row], dtype=torch.float64) for row in range(len(probs))]
    )
    at = uniform.clamp_(max=LARGEST) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, at, right=True)[:, 0]


def install() -> None:
    """Have vLLM's CPU sampler use `draw` where every request has a generator; safe to call twice."""
    from vllm.v1.sample.ops import topk_topp_sampler as ops

    theirs: Any = ops.TopKTopPSampler.forward_cpu
    if theirs.__module__ == __name__:
        return

    def forward_cpu(
        self: Any,
        logits: Tensor,
        generators: dict[int, torch.Generator],
        k: Tensor | None,
        p: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        if len(generators) != len(logits):
            return theirs(self, logits, generators, k, p)
        logits = ops.apply_top_k_top_p(logits, k, p)
        logp = logits.log_softmax(-1, dtype=torch.float32)
        returned = {"processed_logits": logits, "processed_logprobs": logp}.get(self.logprobs_mode)
        return draw(logp.exp(), generators), returned

    ops.TopKTopPSampler.forward_cpu = forward_cpu  # type: ignore[method-assign]
