"""How much of a response repeats itself?

The share of n-grams that are different, of words, and of characters in Chinese. Source: Yeo et al. 2025,
arXiv:2502.03373, whose n-gram penalty keeps long thoughts from looping.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from medray.config.base import Section
from medray.rewards.text import tokens
from medray.types import GroupScore, Prompt, Response


class RepetitionOptions(Section):
    """What counts as a repeat, and where it is looked for."""

    n: int = Field(default=4, ge=1, le=64)
    """Length of the n-grams, in words or Chinese characters."""
    thoughts: bool = True
    """Read the thoughts, too."""


class RepetitionReward:
    """The share of n-grams that are different: 1 where nothing repeats; close to 0 for a loop."""

    Options = RepetitionOptions
    low, high, parts = 0.0, 1.0, ()

    def __init__(self, options: RepetitionOptions | None = None) -> None:
        self.options = RepetitionOptions() if options is None else options

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """The share of each response; 1 for one shorter than n words."""
        texts = (r.text if self.options.thoughts else r.visible_text for r in responses)
        return GroupScore(tuple(distinct_share(tokens(text), self.options.n) for text in texts))


def distinct_share(words: Sequence[str], n: int) -> float:
    """Number of different n-grams over number of n-grams; 1 where there is none."""
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0
