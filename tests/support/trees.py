"""Random trees of tokens with the columns a policy objective reads."""

from __future__ import annotations

import numpy as np

from medray.types import Continuation, PromptTree

VOCABULARY = 320


def random_tree(
    rng: np.random.Generator,
    num_prompt: int,
    lengths: list[int],
    *,
    reference: bool = False,
    vocabulary: int = VOCABULARY,
) -> PromptTree:
    """A prompt and one continuation for each length, all of it trained; of a small vocabulary, many begin alike."""

    def ids(size: int) -> np.ndarray:
        return rng.integers(3, vocabulary, size).astype(np.int32)

    def continuation(size: int) -> Continuation:
        columns = {
            "behaviour_logp": rng.normal(-5.5, 0.3, size).astype(np.float32),
            "advantage": np.full(size, rng.normal(), dtype=np.float32),
        }
        if reference:
            columns["ref_logp"] = rng.normal(-5.5, 0.3, size).astype(np.float32)
        return Continuation(ids(size), np.ones(size, dtype=np.bool_), columns)

    return PromptTree(ids(num_prompt), tuple(continuation(n) for n in lengths))


def unshare(trees: list[PromptTree]) -> list[PromptTree]:
    """Every continuation with a prompt of its own."""
    return [PromptTree(t.prompt_ids, (c,)) for t in trees for c in t.continuations]
