"""A reward that is a plain function of one response."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, TypeVar

from medray.types import GroupScore, Prompt, Response

F = TypeVar("F", bound=Callable[..., Any])


def bounded(low: float, high: float) -> Callable[[F], F]:
    """Declare the bounds of a reward function; one without this decorator returns 0 to 1."""

    def declare(function: F) -> F:
        setattr(function, "low", low)  # noqa: B010 - a function has no such attribute for a type checker
        setattr(function, "high", high)  # noqa: B010
        return function

    return declare


class FunctionReward:
    """Calls a function (response, record) -> float for each response; an async one for all of a group at once.

    Args:
        function: as the user wrote it; its attributes `low` and `high` are the bounds.
        call: the function with its options.
    """

    parts: tuple[str, ...] = ()

    def __init__(self, function: Callable[..., Any], call: Callable[..., Any]) -> None:
        self.low: float = getattr(function, "low", 0.0)
        self.high: float = getattr(function, "high", 1.0)
        self._call = call
        self._is_async = inspect.iscoroutinefunction(function)

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Return what the function gives for each response.

        Raises:
            TypeError: it gave something that is not a number.
        """
        record = prompt.record
        if self._is_async:
            given = asyncio.run(self._together(prompt, responses))
        else:
            given = [self._call(response, record) for response in responses]
        for value in given:
            if not isinstance(value, Real):
                raise TypeError(f"a reward function returns a number, not {type(value).__name__}")
        return GroupScore(tuple(float(value) for value in given))

    async def _together(self, prompt: Prompt, responses: Sequence[Response]) -> list[Any]:
        return await asyncio.gather(*(self._call(one, prompt.record) for one in responses))
