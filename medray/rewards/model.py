"""A reward model's score of each response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from medray.config.base import Section
from medray.config.model import ModelConfig
from medray.data.rendering.chat import ChatOptions
from medray.data.rendering.prompts import with_system
from medray.models.reward.head import require_score_head
from medray.types import GroupScore, Message, Prompt, Response

if TYPE_CHECKING:
    from medray.models.reward.scorer import RewardScorer


class ModelOptions(Section):
    """Settings of `kind: model`."""

    model: ModelConfig
    """A run folder of `jobs/rm.py`, a checkpoint of it, or any sequence-classification model. It reads text, so its
    tokenizer may be another than the policy's."""
    label: str | int | None = None
    """Whose probability is the score, for a classifier of several labels."""
    low: float = -100.0
    """Scores below count as this."""
    high: float = 100.0
    """Scores above count as this."""
    system: str | None = None
    """The only system message that the reward model sees; null shows it that of the data."""

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}")
        return self


class ModelReward:
    """The dialogue and the response as text, scored by a model."""

    Options = ModelOptions
    parts: tuple[str, ...] = ()

    def __init__(self, options: ModelOptions) -> None:
        """Check that the model is there and gives scores; it is loaded later.

        Raises:
            ModelError: it is missing, or a language model.
        """
        require_score_head(options.model.path)
        self.options = options
        self.low, self.high = options.low, options.high
        self.scorer: RewardScorer | None = None

    def load(self) -> None:
        """Load the model; later calls do nothing.

        Raises:
            ModelError: missing or damaged files, or a label that does not exist.
        """
        if self.scorer is None:
            from medray.models.reward.scorer import load_reward_scorer

            self.scorer = load_reward_scorer(self.options.model, self.options.label)

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """One score a response, cut to the bounds."""
        self.load()
        assert self.scorer is not None
        messages = with_system(prompt.record.messages, self.options.system)
        answers = [r.dialogue or _answer(r.text) for r in responses]
        scores = self.scorer.scores(messages, answers, ChatOptions(tools=prompt.record.tools))
        return GroupScore(tuple(min(max(s, self.low), self.high) for s in scores))


def _answer(text: str) -> tuple[Message, ...]:
    return ({"role": "assistant", "content": text},)
