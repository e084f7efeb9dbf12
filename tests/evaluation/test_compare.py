"""Perplexity and accuracy against numbers worked out by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medray.errors import DataError
from medray.evaluation.compare import Question, compare, predict, questions
from medray.types import Prompt, Record


class Next(torch.nn.Module):
    """Gives the token after t, modulo 4, the probability `p`, and the other three the same."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = torch.nn.Parameter(torch.tensor(p))

    def forward(self, input_ids: torch.Tensor, use_cache: bool, logits_to_keep: int) -> Any:
        """Logits [1, T, 4]."""
        wanted = torch.nn.functional.one_hot((input_ids + 1) % 4, 4).float()
        rest = (1 - self.p) / 3
        logits = (rest + wanted * (self.p - rest)).log()
        return SimpleNamespace(logits=logits[:, -logits_to_keep:] if logits_to_keep else logits)


def _ids(*ids: int) -> Any:
    return np.array(ids, dtype=np.int32)


def test_perplexity_weighs_documents_by_their_tokens() -> None:
    found = predict(Next(0.7), [_ids(0, 1, 2, 3), _ids(0, 2)], [])
    # three tokens with 0.7, one with 0.1
    expected = (-3 * math.log(0.7) - math.log(0.1)) / 4
    assert found.documents.perplexity.value == pytest.approx(math.exp(expected), rel=1e-5)
    assert found.documents.num_tokens == (3, 1)
    assert found.accuracy is None


def test_accuracy_is_of_the_likeliest_first_token() -> None:
    asked = [Question(_ids(0), (1, 2), 0), Question(_ids(0), (1, 2), 1), Question(_ids(1), (3, 2), 1)]  # fmt: skip
    found = predict(Next(0.7), [_ids(0, 1)], asked)
    assert found.choices == (0, 0, 1)
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(2 / 3)


def test_changes_are_paired() -> None:
    documents, asked = [_ids(0, 1, 2), _ids(2, 3)], [Question(_ids(0), (1, 2), 0)] * 2
    before, after = (predict(Next(p), documents, asked) for p in (0.7, 0.1))
    changed = compare(before, after)
    # every predicted token goes from 0.7 to 0.1, so the difference has no spread
    assert changed.nats_per_token.value == pytest.approx(math.log(7), rel=1e-5)
    assert changed.nats_per_token.high == pytest.approx(changed.nats_per_token.low, abs=1e-5)
    assert changed.accuracy is not None
    assert changed.accuracy.value == -1
    assert changed.same_choice is not None
    assert changed.same_choice.value == 0


def test_questions_need_one_answer_and_labels_that_differ() -> None:
    def tokenizer(text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(text[0])]}

    def prompt(answer: str, options: tuple[str, ...]) -> Prompt:
        return Prompt(Record("r1", (), answer=answer, options=options), _ids(1))

    (found,) = questions([prompt("B", ("flu", "cold"))], tokenizer)
    assert (found.options, found.right) == ((65, 66), 1)
    (found,) = questions([prompt("maybe", ("yes", "no", "maybe"))], tokenizer)
    assert (found.options, found.right) == ((121, 110, 109), 2)
    for wrong in (prompt("AB", ("flu", "cold")), prompt("flu", ())):
        with pytest.raises(DataError, match="r1 does not have exactly one right answer"):
            questions([wrong], tokenizer)
    with pytest.raises(DataError, match="start with the same token"):
        questions([prompt("none", ("none", "nothing"))], tokenizer)
