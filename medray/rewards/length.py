"""Is a response about as long as it should be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.rewards.text import tokens
from medray.types import GroupScore, Prompt, Response


class LengthOptions(Section):
    """The wanted lengths, and how fast the score falls outside them."""

    unit: Literal["tokens", "words"] = "tokens"
    """What is counted: the sampled tokens, thoughts included, or the words of the visible text (each Chinese character
    is one)."""
    min: int = Field(default=0, ge=0)
    """Shortest length that scores 1."""
    max: int = Field(default=1024, ge=1)
    """Longest length that scores 1."""
    margin: int = Field(default=0, ge=0)
    """Outside, the score falls in a line to 0 over this length; 0 falls at once."""

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min={self.min} is above max={self.max}")
        return self


class LengthReward:
    """1 within the wanted lengths, falling to 0 outside."""

    Options = LengthOptions
    low, high, parts = 0.0, 1.0, ("length",)

    def __init__(self, options: LengthOptions | None = None) -> None:
        self.options = LengthOptions() if options is None else options

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """The score of each response's length; the part `length` is that length."""
        lengths = tuple(float(self._length(response)) for response in responses)
        return GroupScore(tuple(map(self._fit, lengths)), {"length": lengths})

    def _length(self, response: Response) -> int:
        if self.options.unit == "tokens":
            return response.num_sampled
        return len(tokens(response.visible_text))

    def _fit(self, length: float) -> float:
        outside = max(self.options.min - length, length - self.options.max, 0.0)
        if not outside:
            return 1.0
        return max(0.0, 1 - outside / self.options.margin) if self.options.margin else 0.0
