"""Groups that no model sampled."""

from __future__ import annotations

import numpy as np

from medray.actors.groups import GroupHandle, Request
from medray.types import (
    GenerateSpec,
    GroupMeta,
    GroupScore,
    Prompt,
    Record,
    Response,
    RolloutGroup,
    SamplingContract,
)


def random_groups(count: int) -> list[RolloutGroup]:
    """`count` groups of four random responses."""
    rng = np.random.default_rng(0)

    def response() -> Response:
        size = int(rng.integers(1, 12))
        ids = rng.integers(3, 300, size).astype(np.int32)
        return Response(ids, rng.normal(-5.5, 0.2, size).astype(np.float32), "", "length")

    return [
        RolloutGroup(
            Prompt(
                Record(str(i), ()), rng.integers(3, 300, int(rng.integers(4, 30))).astype(np.int32)
            ),
            tuple(response() for _ in range(4)),
            0,
        )
        for i in range(count)
    ]


def scored(prompt: Prompt, meta: GroupMeta, score: GroupScore, tokens: object) -> GroupHandle:
    """A handle whose group is sampled and scored."""
    spec = GenerateSpec(SamplingContract(), len(score.rewards), 8)
    group = GroupHandle(Request(0, prompt, 0, spec))
    group.on_sampled(tokens, meta)
    group.on_scored(score)
    return group


def sampled(ticket: int, group: RolloutGroup, tokens: object) -> GroupHandle:
    """A handle whose group is sampled, and not scored yet."""
    spec = GenerateSpec(SamplingContract(), len(group.responses), 8)
    handle = GroupHandle(Request(ticket, group.prompt, 0, spec))
    lengths = tuple(len(r.token_ids) for r in group.responses)
    meta = GroupMeta(group.prompt.record.id, len(group.prompt.token_ids), lengths, 0, 0, "")
    handle.on_sampled(tokens, meta)
    return handle
