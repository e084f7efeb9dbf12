"""Prompts and responses made from plain text."""

from __future__ import annotations

import numpy as np

from medray.types import FinishReason, Prompt, Record, Response, RolloutGroup


def prompt(answer: str, options: tuple[str, ...] = (), *, id: str = "item-1") -> Prompt:
    record = Record(
        id=id, messages=({"role": "user", "content": "?"},), answer=answer, options=options
    )
    return Prompt(record, np.array([1, 2], np.int32))


def response(text: str, finish_reason: FinishReason = "stop") -> Response:
    return Response(np.array([3], np.int32), np.array([-0.5], np.float32), text, finish_reason)


def group(item: Prompt, *texts: str) -> RolloutGroup:
    return RolloutGroup(item, tuple(response(text) for text in texts), policy_version=0)
