"""Compares what two language models predict on the same held-out documents and questions.

The forward pass is transformers' own, one text at a time: quantised formats load through nothing else, and what users
of the written folder get is what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from medray.errors import DataError
from medray.learners.held_out.likelihood import TextLikelihood
from medray.observability.intervals import Interval, interval_of, paired_difference
from medray.rewards.extract import labels_for
from medray.types import Prompt, TokenIds


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, the first token of each option's label, and which option is right."""

    token_ids: TokenIds  # [T]
    options: tuple[int, ...]
    right: int


@dataclass(frozen=True, slots=True)
class Predictions:
    """One model's likelihood of every document, and the option it chooses for every question."""

    documents: TextLikelihood
    choices: tuple[int, ...]
    right: tuple[int, ...]

    @property
    def accuracy(self) -> Interval | None:
        """Share of questions answered correctly; None without questions."""
        return interval_of(self.hits) if self.hits else None

    @property
    def hits(self) -> list[float]:
        """1.0 for each question whose right option is chosen, else 0.0."""
        return [float(c == r) for c, r in zip(self.choices, self.right, strict=True)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences over the same documents and questions, each with a paired 95% interval."""

    nats_per_token: Interval
    accuracy: Interval | None
    same_choice: Interval | None


def questions(prompts: Sequence[Prompt], tokenizer: Any) -> list[Question]:
    """Prompts whose answer is one of their options, told apart by the first token of its letter or word.

    Raises:
        DataError: a prompt has no options, several answers, or labels that begin with the same token.
    """
    return [_question(prompt, tokenizer) for prompt in prompts]


def predict(model: Any, documents: Sequence[TokenIds], asked: Sequence[Question]) -> Predictions:
    """Score every document and question one by one, without padding."""
    nats: list[float] = []
    for ids in documents:
        logits = _logits(model, ids)[:-1].float()
        targets = torch.as_tensor(ids, dtype=torch.long, device=logits.device)[1:]
        nats.append(float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum")))
    choices: list[int] = []
    for question in asked:
        last = _logits(model, question.token_ids, keep=1)[-1]
        choices.append(int(last[list(question.options)].argmax()))
    lengths = tuple(len(ids) - 1 for ids in documents)
    likelihood = TextLikelihood(tuple(nats), lengths)
    return Predictions(likelihood, tuple(choices), tuple(q.right for q in asked))


def compare(before: Predictions, after: Predictions) -> Comparison:
    """Differences from `before` to `after`, paired by document and by question."""
    rates = [found.documents.nats_per_token for found in (before, after)]
    accuracy = same = None
    if before.choices:
        accuracy = paired_difference(before.hits, after.hits)
        pairs = zip(before.choices, after.choices, strict=True)
        same = interval_of([float(a == b) for a, b in pairs])
    return Comparison(paired_difference(*rates), accuracy, same)


def _question(prompt: Prompt, tokenizer: Any) -> Question:
    record = prompt.record
    labels = labels_for(record.options, record.answer)
    names = labels.names if labels is not None else ()
    folded = [name.casefold() for name in names]
    if record.answer.casefold() not in folded:
        raise DataError(
            f"questions: record {record.id} does not have exactly one right answer among its options: use a dataset of "
            "multiple-choice or closed questions, or set questions.num_eval=0"
        )
    firsts = tuple(tokenizer(name, add_special_tokens=False)["input_ids"][0] for name in names)
    if len(set(firsts)) < len(firsts):
        raise DataError(
            f"questions: options of record {record.id} start with the same token and cannot be compared by likelihood: "
            "use other questions, or set questions.num_eval=0"
        )
    return Question(prompt.token_ids, firsts, folded.index(record.answer.casefold()))


def _logits(model: Any, ids: TokenIds, keep: int = 0) -> torch.Tensor:
    """Logits [T, V], or of the last `keep` positions."""
    device = next(model.parameters()).device
    row = torch.as_tensor(ids, dtype=torch.long, device=device)[None]
    with torch.no_grad():
        return model(input_ids=row, use_cache=False, logits_to_keep=keep).logits[0]
