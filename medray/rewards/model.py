"""A reward model's score of each response."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Literal, Self, cast

from pydantic import model_validator

from medray.config.base import MayBeBlank, Section
from medray.config.model import ModelConfig
from medray.config.supervised import check_separator
from medray.data.rendering.chat import ChatOptions
from medray.data.rendering.prompts import with_system
from medray.errors import ModelError
from medray.models.reward.head import require_score_head, trained_separator
from medray.types import GroupScore, Message, Prompt, Response

if TYPE_CHECKING:
    from medray.models.reward.scorer import PackedRewardScorer, RewardScorer


AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "product": math.prod,
    "last": lambda steps: steps[-1],
    "mean": fmean,
}
"""From the probabilities that each step is right to the reward."""


class StepOptions(Section):
    """Scores each step of the response, cut as in training, with a process reward model."""

    aggregate: Literal["min", "product", "last", "mean"] = "min"
    """From the probabilities of the steps to the reward: their minimum, product or mean, or that of the last step."""
    separator: Annotated[str | None, MayBeBlank()] = None
    """Text between steps; null takes the one of the model's run, or a blank line."""

    def separator_of(self, model: str) -> str:
        """The separator with which responses are cut for the model at this path.

        Raises:
            ModelError: it is missing, or was trained with another separator.
        """
        trained = trained_separator(model)
        if self.separator is None:
            return trained or "\n\n"
        if trained not in (None, self.separator):
            raise ModelError(
                f"reward model {model}: it was trained with chat.step_separator={trained!r}, but the reward's "
                f"options.steps.separator is {self.separator!r}: remove it"
            )
        return check_separator(self.separator)


class ModelOptions(Section):
    """Settings of `kind: model`."""

    model: ModelConfig
    """A run folder of `jobs/rm.py` or `jobs/prm.py`, a checkpoint of it, or any sequence-classification model. It reads
    text, so its tokenizer may be another than the policy's."""
    steps: StepOptions | None = None
    """Score the steps of a response, {aggregate: min}; null scores the response as a whole."""
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
        if self.steps is not None and not (self.low < 1 and self.high > 0):
            raise ValueError(
                "with steps, scores are probabilities: set low below 1 and high above 0"
            )
        if self.steps is not None and self.label is not None:
            raise ValueError(
                "steps are scored by a model with one score, which has no label: remove one"
            )
        return self


class ModelReward:
    """The dialogue and the response as text, scored by a model.

    With `steps`, the part `num_steps` is logged: a policy may learn to take fewer of them.
    """

    Options = ModelOptions

    def __init__(self, options: ModelOptions) -> None:
        """Check that the model is there and gives scores; it is loaded later.

        Raises:
            ModelError: it is missing, or a language model.
        """
        require_score_head(options.model.path)
        self.options = options
        self.low, self.high = options.low, options.high
        self.parts: tuple[str, ...] = ()
        self.separator = ""
        if options.steps is not None:
            self.low, self.high, self.parts = (
                max(0.0, self.low),
                min(1.0, self.high),
                ("num_steps",),
            )
            self.separator = options.steps.separator_of(options.model.path)
        self.scorer: RewardScorer | None = None

    def load(self) -> None:
        """Load the model; later calls do nothing.

        Raises:
            ModelError: missing or damaged files, or a label that does not exist.
        """
        if self.scorer is None:
            from medray.models.reward.scorer import load_packed_scorer, load_reward_scorer

            options = self.options
            self.scorer = (
                load_packed_scorer(options.model)
                if options.steps
                else load_reward_scorer(options.model, options.label)
            )

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """One score a response, cut to the bounds."""
        self.load()
        assert self.scorer is not None
        messages = with_system(prompt.record.messages, self.options.system)
        answers = [r.dialogue or _answer(r.visible_text) for r in responses]
        chat, parts = ChatOptions(tools=prompt.record.tools), dict[str, tuple[float, ...]]()
        if self.options.steps is None:
            scores = self.scorer.scores(messages, answers, chat)
        else:
            scorer = cast("PackedRewardScorer", self.scorer)
            steps = scorer.step_scores(messages, answers, self.separator, chat)
            aggregate = AGGREGATES[self.options.steps.aggregate]
            scores = [aggregate([_sigmoid(score) for score in own]) for own in steps]
            parts["num_steps"] = tuple(float(len(own)) for own in steps)
        return GroupScore(tuple(min(max(s, self.low), self.high) for s in scores), parts)


def _sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * x))


def _answer(text: str) -> tuple[Message, ...]:
    return ({"role": "assistant", "content": text},)
