"""Reward functions written for another trainer: what TRL's and verl's forms have in common."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.names import resolve_name
from medray.errors import ConfigError

WIDEST = 1e6
"""Bounds of a function that declares none: TRL and verl have no bounds."""
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class BroughtOptions(Section):
    """Settings of a function that was written for another trainer."""

    low: float | None = Field(default=None, allow_inf_nan=False)
    """Least value it returns; null takes what `bounded` declares, or -1e6."""
    high: float | None = Field(default=None, allow_inf_nan=False)
    """Greatest value it returns; null takes what `bounded` declares, or 1e6."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of the function."""

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}")
        return self

    def bounds_of(self, function: Callable[..., Any]) -> tuple[float, float]:
        """The bounds of `function`: as set here, as it declares them, or the widest."""
        low = getattr(function, "low", -WIDEST) if self.low is None else self.low
        high = getattr(function, "high", WIDEST) if self.high is None else self.high
        return low, high


class Brought:
    """A function and the keyword arguments that it takes.

    Args:
        path: `module:function`.
        key: the configuration key that names it.
        arguments: what the user adds to each call.

    Raises:
        ConfigError: it cannot be imported, is not a function, or takes positional arguments only.
    """

    def __init__(self, path: str, key: str, arguments: Mapping[str, Any]) -> None:
        self.function: Any = resolve_name(path, {}, key=key)
        self.name = f"{key}={path}"
        if isinstance(self.function, type) or not callable(self.function):
            raise ConfigError(f"{self.name} is not a function")
        parameters = list(inspect.signature(self.function).parameters.values())
        if any(p.kind is p.POSITIONAL_ONLY and p.default is p.empty for p in parameters):
            raise ConfigError(f"{self.name} is called with keyword arguments only: remove the /")
        self.takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.named = frozenset(p.name for p in parameters if p.kind in _NAMED)
        self.needed = frozenset(
            p.name for p in parameters if p.kind in _NAMED and p.default is p.empty
        ) - set(arguments)
        if unknown := [name for name in arguments if not self.takes_all and name not in self.named]:
            raise ConfigError(
                f"{key.rpartition('.')[0]}.options.arguments.{unknown[0]} is not an argument of {path}:"
                f" it takes {', '.join(sorted(self.named))}"
            )
        self.arguments = dict(arguments)
        self.is_async = inspect.iscoroutinefunction(self.function)

    def taken(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Of what is offered, what the function takes, and the user's own arguments over it."""
        chosen = {k: v for k, v in offered.items() if self.takes_all or k in self.named}
        return chosen | self.arguments

    def call(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Results of several calls; those of a coroutine function run concurrently."""
        if self.is_async:
            return asyncio.run(_gathered([self.function(**one) for one in calls]))
        return [self.function(**one) for one in calls]


async def _gathered(awaitables: Iterable[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*awaitables))


def finite(value: Any, what: str) -> float:
    """A number that was returned, as a float.

    Raises:
        TypeError: it is not a finite number; the text begins with `what`.
    """
    if hasattr(value, "item"):  # a numpy or torch scalar
        value = value.item()
    if not isinstance(value, Real) or not math.isfinite(value):
        raise TypeError(f"{what} is {value!r}: return a finite number")
    return float(value)
