"""Which groups make the next batch when generation runs ahead of training: an age limit that costs no group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A group that was asked for and not trained on yet."""

    position: int  # of its prompt in the stream
    version: int  # the oldest its tokens may be of
    ready: bool


def choose(waiting: Sequence[Waiting], size: int, version: int, max_lag: int) -> list[int] | None:
    """Indices of the groups for the next batch, oldest first; None while it cannot be made.

    Ready groups are taken from the oldest on, and one that is not ready is passed over only if it, and all older
    ones, can still be trained on in later batches without exceeding `max_lag`. So a slow group delays nobody while
    there is time, and is waited for, never thrown away, when there is none left. With `max_lag` 0 every group is
    waited for: batches come in the order of the prompts.

    Args:
        waiting: groups, at most `size * (max_lag + 1)` of them.
        size: groups a batch.
        version: of the learner's weights.
        max_lag: versions a group may be old when it is trained on.
    """
    order = sorted(range(len(waiting)), key=lambda i: (waiting[i].version, waiting[i].position))
    chosen: list[int] = []
    for place, index in enumerate(order):
        if len(chosen) == size:
            break
        if waiting[index].ready:
            chosen.append(index)
            continue
        # Places in batches up to the last that may still take this group, less those that it and older ones need;
        # everything still to be chosen now would come from younger ones and use one place each.
        deadline = waiting[index].version + max_lag
        spare = size * (deadline - version + 1) - (place + 1)
        if size - len(chosen) > spare:
            return None
    return chosen if len(chosen) == size else None
