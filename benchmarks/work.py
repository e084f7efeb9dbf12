"""The multiplications that a batch cannot do without, and how many this machine does a second."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medray.types import PromptTree


@dataclass(frozen=True)
class Least:
    """What has to be computed of groups, forward or backward: a prompt once, no token that nothing follows."""

    tokens: int  # through the layers
    logits: int  # rows of the output head
    pairs: float  # of a query and a key

    @classmethod
    def of(cls, trees: Sequence[PromptTree]) -> Least:
        """Prompts that begin alike count as if they did not."""
        tokens = logits = 0
        pairs = 0.0
        for tree in trees:
            prompt = len(tree.prompt_ids)
            answers = [len(c.token_ids) for c in tree.continuations]
            tokens += prompt + sum(n - 1 for n in answers)
            logits += sum(answers)
            pairs += prompt * (prompt + 1) / 2
            pairs += sum((n - 1) * prompt + (n - 1) * n / 2 for n in answers)
        return cls(tokens, logits, pairs)


@dataclass(frozen=True)
class Sizes:
    """What decides how much a model multiplies."""

    body: int  # weights of the layers' matrices
    head: int  # weights of the output head
    attention: int  # width of all heads of all layers

    @classmethod
    def of(cls, module: Any) -> Sizes:
        """Of a Hugging Face causal language model."""
        config = module.config
        matrices = [
            p.numel()
            for name, p in module.named_parameters()
            if p.ndim == 2 and "embed" not in name and "lm_head" not in name
        ]
        heads = config.num_attention_heads * config.head_dim
        return cls(
            sum(matrices), config.vocab_size * config.hidden_size, heads * config.num_hidden_layers
        )

    def forward_flop(self, least: Least) -> float:
        """Of one forward pass, 2 a weight and token; a backward pass is twice as much."""
        return (
            2 * self.body * least.tokens
            + 2 * self.head * least.logits
            + 4 * self.attention * least.pairs
        )


def gemm_peak(config: Any) -> float:
    """FLOP/s of float32 products at the sizes of an update, the best of a few."""
    import torch

    best = 0.0
    for inner, outer in ((config.hidden_size, config.intermediate_size), (2048, 2048)):
        left, right = torch.randn(4096, inner), torch.randn(inner, outer)
        out = torch.empty(4096, outer)
        for _ in range(8):
            begin = time.perf_counter()
            torch.mm(left, right, out=out)
            best = max(best, 2 * 4096 * inner * outer / (time.perf_counter() - begin))
    return best


def copy_seconds(nbytes: int) -> float:
    """The least a hand-over costs: bytes read once and written once, the best of a few."""
    import torch

    source, target = (torch.ones(nbytes, dtype=torch.uint8) for _ in range(2))
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - begin)
    return best
