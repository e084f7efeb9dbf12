"""Multiple choice, and closed questions such as yes, no or maybe: is the right option named?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.errors import GraderError
from medray.rewards.extract import Labels, extract_answer, labels_for, leading_answer
from medray.types import GroupScore, Prompt, Record, Response


class ChoiceOptions(Section):
    """Weights of the parts; a response that has all three scores their sum."""

    parsed: float = Field(default=0.1, allow_inf_nan=False)
    """Paid when the response begins with a letter (or label word) of the item."""
    right: float = Field(default=0.6, allow_inf_nan=False)
    """Paid when the answer read from the response is right; several letters match as a set."""
    stopped: float = Field(default=0.3, allow_inf_nan=False)
    """Paid when the response ended by itself, not at the token limit."""
    strict: bool = False
    """1 when the response is exactly the right letters and stopped, else 0, without weights."""

    @model_validator(mode="after")
    def _something_is_paid(self) -> Self:
        if not self.strict and self.parsed == self.right == self.stopped == 0:
            raise ValueError(
                "parsed, right and stopped are all 0, so all responses tie: raise one of them"
            )
        return self


class ChoiceReward:
    """Weighted parts, each 0 or 1: `parsed`, `right`, `stopped`.

    An answer inside a think block does not count. A response without a readable answer is not
    right; that is a low reward, not a failure.
    """

    Options = ChoiceOptions
    parts = ("parsed", "right", "stopped")

    def __init__(self, options: ChoiceOptions | None = None) -> None:
        self.options = ChoiceOptions() if options is None else options
        weights = (self.options.parsed, self.options.right, self.options.stopped)
        self.low = 0.0 if self.options.strict else math.fsum(min(w, 0.0) for w in weights)
        self.high = 1.0 if self.options.strict else math.fsum(max(w, 0.0) for w in weights)

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Grade the responses to one item.

        Returns:
            Rewards within [low, high]; parts hold the plain 0 or 1, before weights.

        Raises:
            GraderError: the record has no options, or its answer is not among them.
        """
        labels = _labels(prompt.record)
        gold = _canonical(prompt.record.answer, labels)
        graded = [self._grade(response, labels, gold) for response in responses]
        columns = zip(*(checks for _, checks in graded), strict=True)
        parts = {name: tuple(column) for name, column in zip(self.parts, columns, strict=False)}
        return GroupScore(
            tuple(reward for reward, _ in graded), parts or dict.fromkeys(self.parts, ())
        )

    def _grade(
        self, response: Response, labels: Labels, gold: str
    ) -> tuple[float, tuple[float, float, float]]:
        checks = (
            float(leading_answer(response.visible_text, labels) is not None),
            float(extract_answer(response.visible_text, labels) == gold),
            float(response.finish_reason == "stop"),
        )
        if self.options.strict:
            bare = response.visible_text.strip()
            is_exact = bare == gold if labels.is_letters else bare.casefold() == gold.casefold()
            return float(is_exact and response.finish_reason == "stop"), checks
        weights = (self.options.parsed, self.options.right, self.options.stopped)
        return math.fsum(w * c for w, c in zip(weights, checks, strict=True)), checks


def _labels(record: Record) -> Labels:
    labels = labels_for(record.options, record.answer)
    if labels is None:
        raise GraderError(
            f"record {record.id} is not a multiple-choice question (answer {record.answer!r},"
            f" {len(record.options)} options): use kind: text, or load the data with data.kind=choice"
        )
    return labels


def _canonical(answer: str, labels: Labels) -> str:
    if labels.is_letters:
        return "".join(sorted(answer))
    return next(name for name in labels.names if name.casefold() == answer.casefold())
