"""From rollouts to the trees a learner trains on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medray.types import Continuation, Floats, PromptTree, RolloutGroup


def rollout_tree(
    group: RolloutGroup,
    advantages: Sequence[float] | Floats | None = None,
    reference: Sequence[Floats] | None = None,
    old: Sequence[Floats] | None = None,
) -> PromptTree:
    """A group as one tree; every response token is trained, the stop token included.

    Args:
        group: prompt and its G responses.
        advantages: [G]; each is spread over its response's tokens. None leaves the column out.
        reference: per response the reference model's log-probabilities [T].
        old: per response the learner's own [T] from before the batch's first update.
    """
    continuations = []
    for g, response in enumerate(group.responses):
        size = len(response.token_ids)
        columns: dict[str, Floats] = {"behaviour_logp": response.logp}
        if advantages is not None:
            columns["advantage"] = np.full(size, advantages[g], dtype=np.float32)
        if reference is not None:
            columns["ref_logp"] = np.asarray(reference[g], dtype=np.float32)
        if old is not None:
            columns["old_logp"] = np.asarray(old[g], dtype=np.float32)
        continuations.append(
            Continuation(response.token_ids, np.ones(size, dtype=np.bool_), columns)
        )
    return PromptTree(group.prompt.token_ids, tuple(continuations))


def sequence_tree(
    token_ids: Sequence[int], columns: Mapping[str, Floats] | None = None
) -> PromptTree:
    """One text without a prompt, every token trained but the first."""
    ids = np.asarray(token_ids, dtype=np.int32)
    trained = np.ones(len(ids), dtype=np.bool_)
    trained[0] = False
    return PromptTree(
        np.zeros(0, dtype=np.int32), (Continuation(ids, trained, dict(columns or {})),)
    )
