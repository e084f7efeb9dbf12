"""A reward model's score of each response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import model_validator

from medray.config.base import Section
from medray.config.model import ModelConfig
from medray.data.chat import with_system
from medray.data.packing import build_row
from medray.data.rendering.chat import ChatOptions, renderer_of
from medray.models.score_head import require_score_head
from medray.types import Continuation, GroupScore, Message, Prompt, PromptTree, Response, TokenIds

if TYPE_CHECKING:
    from medray.models.reward import RewardModel


class ModelOptions(Section):
    """Settings of `kind: model`."""

    model: ModelConfig
    """A run folder of `jobs/rm.py`, a checkpoint of it, or any decoder with a sequence-classification head of one
    label. It reads text, so its tokenizer may be another than the policy's."""
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
    """Renders prompt and response as the reward model's own chats and reads its score at their last token."""

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
        self.model: RewardModel | None = None

    def load(self) -> None:
        """Load the model; later calls do nothing.

        Raises:
            ModelError: missing or damaged files, or an architecture without one score.
        """
        if self.model is None:
            from medray.models.load import load_reward_model

            self.model = load_reward_model(self.options.model, trainable=False, new_head=False)

    def use(self, model: RewardModel) -> None:
        """Score with a model that is loaded already."""
        self.model = model

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """One score a response, cut to the bounds."""
        import torch

        self.load()
        assert self.model is not None
        with torch.no_grad():
            scores = self.model.scores(build_row([self._tree(prompt, responses)])).tolist()
        return GroupScore(tuple(min(max(s, self.low), self.high) for s in scores))

    def _tree(self, prompt: Prompt, responses: Sequence[Response]) -> PromptTree:
        """All dialogues, with the tokens that they begin with in common computed once."""
        texts = [self._dialogue(prompt, response.text) for response in responses]
        shortest = min(len(t) for t in texts)
        stacked = np.stack([t[: shortest - 1] for t in texts])  # the last token is each one's own
        same = (stacked == stacked[0]).all(axis=0)
        shared = len(same) if same.all() else int(np.argmin(same))
        return PromptTree(
            texts[0][:shared],
            tuple(
                Continuation(t[shared:], np.ones(len(t) - shared, dtype=np.bool_)) for t in texts
            ),
        )

    def _dialogue(self, prompt: Prompt, text: str) -> TokenIds:
        assert self.model is not None
        record = prompt.record
        answer: Message = {"role": "assistant", "content": text}
        messages: list[Any] = [*with_system(record.messages, self.options.system), answer]
        renderer = renderer_of(self.model.tokenizer)
        return renderer.render(messages, ChatOptions(tools=record.tools)).token_ids
