"""Random trees of tokens with the columns a policy objective reads."""

from __future__ import annotations

import numpy as np

from medray.types import Continuation, PromptTree

VOCABULARY = 320


def random_tree(
    rng: np.random.Generator, num_prompt: int, lengths: list[int], *, reference: bool = False
) -> PromptTree:
    """A prompt and one continuation for each length, all of it trained."""

    def continuation(size: int) -> Continuation:
        columns = {
            "behaviour_logp": rng.normal(-5.5, 0.3, size).astype(np.float32),
            "advantage": np.full(size, rng.normal(), dtype=np.float32),
        }
        if reference:
            columns["ref_logp"] = rng.normal(-5.5, 0.3, size).astype(np.float32)
        return Continuation(_ids(rng, size), np.ones(size, dtype=np.bool_), columns)

    return PromptTree(_ids(rng, num_prompt), tuple(continuation(n) for n in lengths))


def _ids(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(3, VOCABULARY, size).astype(np.int32)
