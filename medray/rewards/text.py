"""Free-text answers against a reference: exact match and token F1, English and Chinese.

Source: SQuAD's exact match and F1 (arXiv:1606.05250); here articles are kept ("vitamin A" is not
"vitamin"), numbers stay whole, and each Chinese character is a token.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.errors import GraderError
from medray.thoughts import visible_text
from medray.types import GroupScore, Prompt, Response

_TOKEN = re.compile(
    r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*%?"  # -1.5, 1,000, 30%
    r"|\d+(?:[.,]\d+)*%?"
    r"|[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\W\d_\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_MARKED = re.compile(
    r"<answer>(.*?)(?:</answer>|\Z)|\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}|####\s*([^\n]+)",
    re.DOTALL | re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"\A\s*(?:(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+is\s*:?|\s*:)"
    r"|(?:最终|正确)?答案(?:是|为)?\s*:?|答\s*:)\s*",
    re.IGNORECASE,
)


class TextOptions(Section):
    """Weights of the parts; the reference itself scores their sum."""

    exact: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Paid when response and reference have the same tokens in the same order."""
    f1: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Times the harmonic mean of token precision and recall."""
    stopped: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Paid when the response ended by itself, not at the token limit."""

    @model_validator(mode="after")
    def _something_is_paid(self) -> Self:
        if self.exact == self.f1 == self.stopped == 0:
            raise ValueError(
                "exact, f1 and stopped are all 0, so all responses tie: raise one of them"
            )
        return self


class TextReward:
    """Overlap of a response with the reference answer; parts `exact`, `f1`, `stopped` in [0, 1].

    Compared is the last `<answer>`, `\\boxed{}` or `####` answer when there is one, else the
    whole response without its think blocks and a leading "The answer is". Of a reference with
    `####`, what follows it.
    """

    Options = TextOptions
    parts = ("exact", "f1", "stopped")

    def __init__(self, options: TextOptions | None = None) -> None:
        self.options = TextOptions() if options is None else options
        self.low = 0.0
        self.high = math.fsum((self.options.exact, self.options.f1, self.options.stopped))

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Grade the responses to one question.

        Raises:
            GraderError: the record has no reference answer.
        """
        record = prompt.record
        if not record.answer.strip():
            raise GraderError(f"record {record.id} has no reference answer to compare with")
        gold = tokens(record.answer.rpartition("####")[2] or record.answer)
        texts = [tokens(final_text(response.visible_text)) for response in responses]
        exact = tuple(float(text == gold) for text in texts)
        f1 = tuple(token_f1(text, gold) for text in texts)
        stopped = tuple(float(response.finish_reason == "stop") for response in responses)
        weights = (self.options.exact, self.options.f1, self.options.stopped)
        rewards = tuple(
            math.fsum(w * v for w, v in zip(weights, values, strict=True))
            for values in zip(exact, f1, stopped, strict=True)
        )
        return GroupScore(rewards, {"exact": exact, "f1": f1, "stopped": stopped})


def final_text(response: str) -> str:
    """The part of a response that is its answer; empty when all of it was thinking."""
    visible = visible_text(response)
    marked = marked_answer(visible)
    return _LEAD_IN.sub("", unicodedata.normalize("NFKC", visible)) if marked is None else marked


def marked_answer(visible: str) -> str | None:
    """The last `<answer>`, `\\boxed{}` or `####` answer of a text without thoughts; None where there is none."""
    marked = [next(g for g in m.groups() if g is not None) for m in _MARKED.finditer(visible)]
    return marked[-1] if marked else None


def tokens(text: str) -> tuple[str, ...]:
    """Words, whole numbers and single Chinese characters; case, width and punctuation folded.

    Text of nothing but signs, such as "+", is one token.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    found = tuple(_TOKEN.findall(folded))
    return found or ((folded,) if folded else ())


def token_f1(text: Sequence[str], gold: Sequence[str]) -> float:
    """Harmonic mean of the share of `text` in `gold` and of `gold` in `text`, counting repeats."""
    shared = sum((Counter(text) & Counter(gold)).values())
    return 2 * shared / (len(text) + len(gold)) if shared else 0.0
