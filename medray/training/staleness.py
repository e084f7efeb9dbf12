"""Batch selection for asynchronous rollouts: bounds the policy lag without discarding groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A group that was requested and not trained on yet."""

    position: int  # of its prompt in the stream
    version: int  # oldest policy version that any of its tokens may have
    ready: bool


def choose(waiting: Sequence[Waiting], size: int, version: int, max_lag: int) -> list[int] | None:
    """Choose the groups of the next batch, oldest first; None if the batch has to wait.

    Ready groups are taken oldest first. A group that is not ready is skipped only if it, and all older ones, can still
    be trained on in later batches without exceeding `max_lag`. A slow group therefore delays nothing while there is
    slack; when there is none left, the batch waits for it. No group is ever discarded. With `max_lag` 0 every batch
    waits for all its groups, in prompt order.

    Args:
        waiting: groups, at most `size * (max_lag + 1)`.
        size: groups per batch.
        version: policy version of the learner.
        max_lag: maximum policy lag of a group when it is trained on, in versions.

    Returns:
        Indices into `waiting`.
    """
    order = sorted(range(len(waiting)), key=lambda i: (waiting[i].version, waiting[i].position))
    chosen: list[int] = []
    for place, index in enumerate(order):
        if len(chosen) == size:
            break
        if waiting[index].ready:
            chosen.append(index)
            continue
        # `spare`: places in the batches up to the last one that may take this group, minus the places that it and
        # older groups need. Every group chosen from here on is younger and uses one of them.
        deadline = waiting[index].version + max_lag
        spare = size * (deadline - version + 1) - (place + 1)
        if size - len(chosen) > spare:
            return None
    return chosen if len(chosen) == size else None
