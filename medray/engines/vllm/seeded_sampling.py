"""Seeded sampling on a CPU with one random number per sampled token.

Per-request seeds (vllm-project/vllm#9945) make vLLM draw an exponential variate for every entry of the vocabulary, in a
Python loop over requests (see the TODO in `random_sample`, vllm/v1/sample/ops/topk_topp_sampler.py). That took a third
of the time of a rollout with short answers. Inverting the cumulative distribution needs one number per token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

LARGEST = 1 - 2**-40  # so that rounding never leads beyond the last token


def draw(probs: Tensor, generators: Mapping[int, torch.Generator]) -> Tensor:
    """Draw one token [B] from each distribution [B, V]; rows need not sum to one exactly.

    Args:
        probs: float32; a token of probability zero is never drawn.
        generators: by row; each drawn token consumes one number of its row's generator.
    """
    cumulative = probs.cumsum(-1, dtype=torch.float64)
    uniform = torch.stack(
        [torch.rand(1, generator=generators[row], dtype=torch.float64) for row in range(len(probs))]
    )
    at = uniform.clamp_(max=LARGEST) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, at, right=True)[:, 0]


def install() -> None:
    """Patch vLLM's CPU sampler to use `draw` when every request has a generator; safe to call twice."""
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
