"""Scoring answers with a reward model: given a dialogue and several ways to answer it, one score each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from medray.config.model import ModelConfig
from medray.data.batches.packing import build_row
from medray.data.batches.trees import step_tree
from medray.data.rendering.chat import ChatOptions, renderer_of
from medray.data.rendering.steps import render_steps, split_steps
from medray.errors import ModelError, first_line
from medray.models.adapters.folder import is_adapter
from medray.models.adapters.lora import score_head
from medray.models.fetching.fetch import resolve_model
from medray.models.load import load_reward_model
from medray.models.reward.model import RewardModel
from medray.models.tokenizer import load_tokenizer
from medray.types import Continuation, Message, PromptTree, TokenIds

Answer = Sequence[Message]
"""What follows a prompt: the assistant's turn, or several with the user's between them."""


class RewardScorer(Protocol):
    """Reads text, so its tokenizer may be another than the policy's."""

    def scores(
        self, messages: Sequence[Message], answers: Sequence[Answer], options: ChatOptions
    ) -> list[float]:
        """One score an answer to the dialogue `messages`."""
        ...


def load_reward_scorer(config: ModelConfig, label: str | int | None) -> RewardScorer:
    """Load a reward model of any kind, frozen.

    Args:
        config: a decoder with one score is computed packed, whatever else as transformers does.
        label: of a classifier of several labels, whose probability is the score.

    Raises:
        ModelError: missing or damaged files, no score head, or a label that does not exist.
    """
    if _is_scoring_decoder(config):
        return _load_packed(config)
    return Classifier(config, label)


def load_packed_scorer(config: ModelConfig) -> PackedRewardScorer:
    """Load a decoder with one score, frozen: what can be read at the ends of steps.

    Raises:
        ModelError: missing or damaged files, or a model of another kind.
    """
    if not _is_scoring_decoder(config):
        raise ModelError(
            f"reward model {config.path}: steps are scored by a decoder with one score: use a run of jobs/prm.py, or"
            " remove options.steps"
        )
    return _load_packed(config)


def _load_packed(config: ModelConfig) -> PackedRewardScorer:
    return PackedRewardScorer(load_reward_model(config, trainable=False, new_head=False))


class PackedRewardScorer:
    """A decoder that is read at the last token of each chat, or at the ends of an answer's steps; what the chats begin
    with in common is computed once."""

    def __init__(self, model: RewardModel) -> None:
        self.model = model

    @torch.no_grad()
    def scores(
        self, messages: Sequence[Message], answers: Sequence[Answer], options: ChatOptions
    ) -> list[float]:
        """Score several answers to one dialogue in one packed row, sharing the prompt's tokens.

        Returns:
            One score per answer, in reward units of the model.
        """
        renderer = renderer_of(self.model.tokenizer)
        chats = [renderer.render([*messages, *answer], options).token_ids for answer in answers]
        return self.model.scores(build_row([_text(chat) for chat in chats], whole=True)).tolist()

    @torch.no_grad()
    def step_scores(
        self,
        messages: Sequence[Message],
        answers: Sequence[Answer],
        separator: str,
        options: ChatOptions,
    ) -> list[list[float]]:
        """The log-odds that each step is right, of several answers to one dialogue in one packed row.

        Args:
            messages: the dialogue.
            answers: the last turn of each is cut into steps.
            separator: between steps.
            options: how the template renders.
        """
        renderer = renderer_of(self.model.tokenizer)
        trees: list[PromptTree] = []
        for *before, last in answers:
            steps = split_steps(last["content"], separator)
            chat = render_steps(renderer, [*messages, *before], steps, separator, options)
            trees.append(step_tree(chat.token_ids, chat.ends, [0.0] * len(steps)))
        row = build_row(trees, whole=True)
        scores = self.model.step_scores(row)
        return [own.tolist() for own in scores.split(row.sequence_lengths.tolist())]


class Classifier:
    """Any sequence-classification model, one text at a time through transformers alone."""

    def __init__(self, config: ModelConfig, label: str | int | None) -> None:
        """Load the model.

        Raises:
            ModelError: missing or damaged files, or `label` does not say which of several labels counts.
        """
        try:
            module: Any = AutoModelForSequenceClassification.from_pretrained(
                resolve_model(config.path),
                dtype=getattr(torch, config.dtype),
                trust_remote_code=config.trust_remote_code,
                revision=config.revision,
            )
        except (OSError, ValueError) as error:
            raise ModelError(f"reward model {config.path}: {first_line(error)}") from None
        self.module = module.to(config.device).eval()
        self.tokenizer: Any = load_tokenizer(config)
        self.index = _label_index(module.config, label, config.path)

    @torch.no_grad()
    def scores(
        self, messages: Sequence[Message], answers: Sequence[Answer], options: ChatOptions
    ) -> list[float]:
        """One score an answer: the only label's raw one, or the probability of the chosen label."""
        return [self._score(self._encode(messages, answer, options)) for answer in answers]

    def _score(self, batch: dict[str, torch.Tensor]) -> float:
        on_device = {name: tensor.to(self.module.device) for name, tensor in batch.items()}
        logits = self.module(**on_device).logits[0].float()
        return float(logits[0] if self.index is None else logits.softmax(-1)[self.index])

    def _encode(
        self, messages: Sequence[Message], answer: Answer, options: ChatOptions
    ) -> dict[str, torch.Tensor]:
        """The model's own chat where it has a template, else a pair of texts, as encoders are trained on."""
        if self.tokenizer.chat_template:
            chat = renderer_of(self.tokenizer).render([*messages, *answer], options)
            return {"input_ids": torch.as_tensor(chat.token_ids, dtype=torch.long)[None]}
        *before, last = [message["content"] for message in (*messages, *answer)]
        return dict(self.tokenizer("\n".join(before), last, return_tensors="pt", truncation=True))


def _is_scoring_decoder(config: ModelConfig) -> bool:
    at = resolve_model(config.path)
    if is_adapter(at):
        return True
    try:
        hf_config = AutoConfig.from_pretrained(at, trust_remote_code=config.trust_remote_code)
        with torch.device("meta"):
            shell = AutoModelForSequenceClassification.from_config(
                hf_config, trust_remote_code=config.trust_remote_code
            )
    except (OSError, ValueError) as error:
        raise ModelError(f"reward model {config.path}: {first_line(error)}") from None
    return hf_config.num_labels == 1 and score_head(shell) is not None


def _text(token_ids: TokenIds) -> PromptTree:
    nothing = np.zeros(0, dtype=token_ids.dtype)
    whole = Continuation(token_ids, np.zeros(len(token_ids), dtype=np.bool_))
    return PromptTree(nothing, (whole,))


def _label_index(hf_config: Any, label: str | int | None, path: str) -> int | None:
    names = [str(hf_config.id2label[i]) for i in range(hf_config.num_labels)]
    if len(names) == 1:
        return None
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    if label in names:
        return names.index(str(label))
    raise ModelError(
        f"reward model {path}: it has {len(names)} labels and none is named {label}: set the reward's "
        f"options.label to one of {', '.join(names)}"
    )
