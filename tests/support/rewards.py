"""Rewards a random model can learn in a few steps; named by dotted path in test jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from medray.types import GroupScore, Prompt, Response


class EvenBytes:
    """Share of a response's tokens whose id is even."""

    low, high = 0.0, 1.0
    parts: tuple[str, ...] = ()

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """One share a response."""
        return GroupScore(
            tuple(sum(int(t) % 2 == 0 for t in r.token_ids) / len(r.token_ids) for r in responses)
        )


class Broken(EvenBytes):
    """A grader that cannot grade."""

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Never answers."""
        raise ConnectionError("grader unreachable")


class BrokenForEven(EvenBytes):
    """A grader that cannot grade prompts with an even number."""

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Fails for every second prompt."""
        if int(prompt.record.id) % 2 == 0:
            raise ConnectionError("grader unreachable")
        return super().score(prompt, responses)


class Slow(EvenBytes):
    """A grader that answers after ten seconds."""

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Late."""
        time.sleep(10)
        return super().score(prompt, responses)


class Constant(EvenBytes):
    """Every response is worth the same: no learning signal."""

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Always one half."""
        return GroupScore((0.5,) * len(responses))
