"""What a reward is: a grader of all responses to one prompt, inside bounds it declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from medray.types import GroupScore, Prompt, Response


@runtime_checkable
class Reward(Protocol):
    """Scores the G responses to one prompt.

    A reward with settings also has a class attribute `Options`, a `medray.config.base.Section`,
    and takes an instance of it; a reward without takes the settings as keyword arguments.
    A reward that looks at one response at a time can be a plain function instead (`medray.rewards.function`).
    """

    low: float
    """No score is below this."""
    high: float
    """No score is above this."""
    parts: tuple[str, ...]
    """Names of the parts that `score` reports; may be empty."""

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """One float per response, in order, and every declared part with one float per response.

        A wrong answer scores low; a grader that cannot grade raises. The same response always
        gets the same score, whatever stands beside it, unless the reward says otherwise.
        """
        ...
