"""Answers to maths: plain numbers, fractions, LaTeX, and GSM8K's `####`.

A gold number is compared exactly (1/2 is 0.5 and 50%), a gold expression by math-verify, any other gold text token by
token. Source: math-verify (Hugging Face), GSM8K (arXiv:2110.14168).
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.errors import GraderError
from medray.medical.quantities.reading import Quantity, find_quantities, normalised
from medray.rewards.numeric import Gold, answer_quantity
from medray.rewards.text import final_text, marked_answer, tokens
from medray.types import GroupScore, Prompt, Response

RELATIVE = 1e-9
MAX_CHARS = 300
"""Longer expressions are not parsed."""
_TIMEOUT_S = 5
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_EXPRESSION = re.compile(
    r"\\[a-zA-Z]+|[\^=_{}]|\d\s*[-+*/()]|[-+*/()]\s*\d|\bpi\b|\bsqrt\b|[a-z]\s*[-+*/^]"
)
_COSTLY = re.compile(
    r"\^\s*\{?[^}]*\^|\^\s*\{?\s*-?\d{3,}|\*\*\s*\(?-?\d{3,}|\*\*[^*]*\*\*|\d{3,}\s*!|!\s*!"
    r"|\\(?:int|sum|prod|lim|binom)"
)
_WHOLE = re.compile(r"[\s$¥£€=.。]*")


class MathOptions(Section):
    """What an equal answer and a marked one are paid."""

    right: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Paid for an answer equal to the gold one."""
    parsed: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Paid for an answer that is marked (`\\boxed{}`, `####`, `<answer>`)."""

    @model_validator(mode="after")
    def _something_is_paid(self) -> Self:
        if self.right == self.parsed == 0:
            raise ValueError("right and parsed are both 0, so all responses tie: raise one of them")
        return self


class MathReward:
    """Weighted parts, each 0 or 1: `right`, `parsed`."""

    Options = MathOptions
    parts = ("right", "parsed")

    def __init__(self, options: MathOptions | None = None) -> None:
        self.options = MathOptions() if options is None else options
        self.low, self.high = 0.0, self.options.right + self.options.parsed

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Grade the responses to one problem.

        Raises:
            GraderError: the record has no gold answer.
        """
        answer = gold_text(prompt.record.answer)
        if not answer:
            raise GraderError(f"record {prompt.record.id} has no gold answer to compare with")
        texts = [response.visible_text for response in responses]
        right = tuple(float(is_equal(text, answer)) for text in texts)
        parsed = tuple(float(marked(text) is not None) for text in texts)
        rewards = tuple(
            self.options.right * r + self.options.parsed * p
            for r, p in zip(right, parsed, strict=True)
        )
        return GroupScore(rewards, {"right": right, "parsed": parsed})


def gold_text(answer: str) -> str:
    """The answer proper of a solution: after `####`, else inside `\\boxed{}`, else all of it."""
    boxed = _BOXED.findall(answer)
    if "####" in answer:
        return answer.rpartition("####")[2].strip()
    return (boxed[-1] if boxed else answer).strip()


def marked(visible: str) -> str | None:
    """The marked answer of a text without thoughts; braces in `\\boxed{}` may be nested twice."""
    boxed = _BOXED.findall(visible)
    found = marked_answer(visible)
    return boxed[-1] if boxed and found is not None and "####" not in visible else found


def is_equal(visible: str, gold: str) -> bool:
    """Whether the answer of a text without thoughts is the gold one."""
    wanted = number_in(gold)
    if wanted is not None:
        return _is_number(visible, wanted)
    said = marked(visible)
    if tokens(final_text(visible) if said is None else said) == tokens(gold):
        return True
    if not _EXPRESSION.search(gold):
        return False
    return same_expression(_last_expression(visible) if said is None else said, gold)


def number_in(text: str) -> float | None:
    """The number that a text is, percent as a share of 1; None where it is anything else."""
    text = normalised(text)
    found = find_quantities(text)
    if len(found) != 1 or found[0].is_range or found[0].unit not in ("", "percent"):
        return None
    around = text[: found[0].start] + text[found[0].end :]
    return _share(found[0]) if _WHOLE.fullmatch(around) else None


def _share(found: Quantity) -> float:
    return found.value / 100 if found.unit == "percent" else found.value


def _is_number(visible: str, wanted: float) -> bool:
    said = marked(visible)
    if said is not None and (value := number_in(said)) is not None:
        return math.isclose(value, wanted, rel_tol=RELATIVE, abs_tol=1e-12)
    found = answer_quantity(visible, Gold(Quantity(wanted), wanted, wanted))
    if found is None or (said is not None and _EXPRESSION.search(said) and "=" not in said):
        return said is not None and same_expression(said, repr(wanted))
    return math.isclose(_share(found), wanted, rel_tol=RELATIVE, abs_tol=1e-12)


def _last_expression(visible: str) -> str:
    """The last formula between dollar signs, else the last line, without "x =" before it."""
    formulas = re.findall(r"\$+([^$]+)\$+|\\\((.+?)\\\)|\\\[(.+?)\\\]", visible, re.DOTALL)
    if formulas:
        return next(part for part in formulas[-1] if part)
    lines = [line for line in visible.strip().splitlines() if line.strip()]
    return re.sub(r"^.*?(?:\bis\b|:|：|是)\s*", "", lines[-1]).rstrip(".。") if lines else ""


@lru_cache(maxsize=4096)
def same_expression(one: str, two: str) -> bool:
    """Whether math-verify finds two expressions equal; False for those too long or costly to evaluate."""
    if any(len(text) > MAX_CHARS or _COSTLY.search(text) for text in (one, two)):
        return False
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    # Its time limit is an alarm signal, which only a main thread has.
    is_main = threading.current_thread() is threading.main_thread()
    limit = _TIMEOUT_S if is_main else 0
    try:
        parsed: list[Any] = [
            parse(f"${text.strip().strip('$')}$", parsing_timeout=limit) for text in (one, two)
        ]
        return bool(verify(parsed[1], parsed[0], timeout_seconds=limit))
    except Exception:  # sympy raises anything on odd text: such a response is not the answer
        return False
