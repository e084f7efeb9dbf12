"""How well a language model predicts held-out documents and answers held-out questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from medray.errors import DataError
from medray.observability.intervals import Interval, paired_difference, wilson
from medray.rewards.extract import labels_for
from medray.types import Prompt, TokenIds


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, the first token of each option's label, and which option is right."""

    token_ids: TokenIds  # [T]
    options: tuple[int, ...]
    right: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What one model makes of all documents and questions."""

    nats: tuple[float, ...]  # sum over a document's predicted tokens
    num_tokens: tuple[int, ...]
    choices: tuple[int, ...]
    right: tuple[int, ...]

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-likelihood a token, over all documents."""
        return math.exp(sum(self.nats) / sum(self.num_tokens))

    @property
    def accuracy(self) -> Interval | None:
        """Share of questions answered rightly; None without questions."""
        pairs = list(zip(self.choices, self.right, strict=True))
        return wilson(sum(c == r for c, r in pairs), len(pairs)) if pairs else None


@dataclass(frozen=True, slots=True)
class Change:
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


def measure(model: Any, documents: Sequence[TokenIds], asked: Sequence[Question]) -> Quality:
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
    return Quality(tuple(nats), lengths, tuple(choices), tuple(q.right for q in asked))


def change(before: Quality, after: Quality) -> Change:
    """What is different between two models on the same documents and questions."""
    rates = [
        [nats / tokens for nats, tokens in zip(q.nats, q.num_tokens, strict=True)]
        for q in (before, after)
    ]
    accuracy = same = None
    if before.choices:
        hits = [
            [float(c == r) for c, r in zip(q.choices, q.right, strict=True)]
            for q in (before, after)
        ]
        accuracy = paired_difference(*hits)
        pairs = zip(before.choices, after.choices, strict=True)
        same = wilson(sum(a == b for a, b in pairs), len(before.choices))
    return Change(paired_difference(*rates), accuracy, same)


def _question(prompt: Prompt, tokenizer: Any) -> Question:
    record = prompt.record
    labels = labels_for(record.options, record.answer)
    names = labels.names if labels is not None else ()
    folded = [name.casefold() for name in names]
    if record.answer.casefold() not in folded:
        raise DataError(
            f"questions: record {record.id} has not one right answer among its options: name a dataset of "
            "multiple-choice or closed questions, or set questions.num_eval=0"
        )
    firsts = tuple(tokenizer(name, add_special_tokens=False)["input_ids"][0] for name in names)
    if len(set(firsts)) < len(firsts):
        raise DataError(
            f"questions: options of record {record.id} begin with the same token, so they cannot be told apart: "
            "name other questions, or set questions.num_eval=0"
        )
    return Question(prompt.token_ids, firsts, folded.index(record.answer.casefold()))


def _logits(model: Any, ids: TokenIds, keep: int = 0) -> torch.Tensor:
    """Logits [T, V], or of the last `keep` positions."""
    device = next(model.parameters()).device
    row = torch.as_tensor(ids, dtype=torch.long, device=device)[None]
    with torch.no_grad():
        return model(input_ids=row, use_cache=False, logits_to_keep=keep).logits[0]
