"""Uniform noise on the input embeddings during fine-tuning."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medray.data.batches.packing import PackedRow


@dataclass(frozen=True)
class EmbeddingNoise:
    """NEFTune: each embedding moves by alpha / sqrt(T * D) * Uniform(-1, 1), T the length of its own sequence.

    The noise of a token depends on `seed`, and on the tokens and the length of its sequence, so it is the same
    however a step is cut into rows and ranks, and after a resume. A prompt with several continuations takes
    the length of the longest.

    Source: arXiv:2310.05914, algorithm 1.
    """

    alpha: float
    seed: tuple[int, ...]  # of the run and the step

    def of_row(self, row: PackedRow, size: int, device: torch.device) -> Tensor:
        """Noise [T, D] of a row that is whole and whose trees are not merged, D = `size`."""
        noise = torch.zeros(len(row.token_ids), size, device=device)
        for span in row.spans:
            prompt = row.token_ids[span.prompt]
            owns = [row.token_ids[own] for own in span.continuations]
            length = len(prompt) + max((len(own) for own in owns), default=0)
            noise[span.prompt] = self._draw(prompt, b"", length, size, device)
            for at, own in zip(span.continuations, owns, strict=True):
                before = prompt.tobytes()
                noise[at] = self._draw(own, before, len(prompt) + len(own), size, device)
        return noise

    def _draw(
        self, ids: Any, before: bytes, length: int, size: int, device: torch.device
    ) -> Tensor:
        if len(ids) == 0:
            return torch.zeros(0, size, device=device)
        key = zlib.crc32(ids.tobytes(), zlib.crc32(before))
        [seed] = np.random.SeedSequence([*self.seed, key]).generate_state(1, np.uint64)
        generator = torch.Generator(device).manual_seed(int(seed) >> 1)
        noise = torch.empty(len(ids), size, device=device)
        return noise.uniform_(-1, 1, generator=generator) * (self.alpha / math.sqrt(length * size))


@contextmanager
def added_to_embeddings(layer: torch.nn.Module, noise: Tensor | None) -> Iterator[None]:
    """Within this context `layer` returns its embeddings [1, T, D] plus `noise` [T, D]."""
    if noise is None:
        yield
        return

    def add(_layer: torch.nn.Module, _inputs: Any, out: Any) -> Any:
        return out + noise.to(out.dtype)[None]

    handle = layer.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
