"""Does a response have the form that was asked for?

Forms: `think_answer` is one thought and one `<answer>` and nothing else (DeepSeek-R1, arXiv:2501.12948); `headings` is
one `## Thinking` before one `## Final Response` (HuatuoGPT-o1, arXiv:2412.18925); `boxed` is one `\\boxed{}` after the
thought.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import field_validator, model_validator

from medray.config.base import MayBeBlank, Section
from medray.thoughts import visible_text
from medray.types import GroupScore, Prompt, Response

# A template may have opened the thought in the prompt.
_THINK_ANSWER = re.compile(
    r"\s*(?:<think>)?(?:(?!</?think>|</?answer>).)*</think>"
    r"\s*<answer>(?:(?!</?think>|</?answer>).)*\S(?:(?!</?think>|</?answer>).)*</answer>\s*",
    re.DOTALL,
)
_THINKING = re.compile(r"^## Thinking[ \t]*$", re.MULTILINE)
_FINAL = re.compile(r"^## Final Response[ \t]*$", re.MULTILINE)
_BOXED = re.compile(r"\\boxed\s*\{")


class FormatOptions(Section):
    """The form: one by name, or a pattern of your own."""

    form: Literal["think_answer", "headings", "boxed"] | None = None
    """A form by name; null, with `pattern`."""
    pattern: Annotated[str | None, MayBeBlank()] = None
    """A regular expression that the whole response must match; `.` also matches line breaks."""
    stopped: bool = False
    """The response must also have ended by itself, not at the token limit."""

    @field_validator("pattern")
    @classmethod
    def _pattern_is_valid(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _one_is_set(self) -> Self:
        if (self.form is None) == (self.pattern is None):
            raise ValueError("set one of form and pattern")
        return self


class FormatReward:
    """1 for a response of the form, else 0. Use it as a term, or as a gate."""

    Options = FormatOptions
    low, high, parts = 0.0, 1.0, ()

    def __init__(self, options: FormatOptions) -> None:
        self.options = options
        self._pattern = re.compile(options.pattern, re.DOTALL) if options.pattern else None

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """Give 1 or 0 for each response."""
        return GroupScore(tuple(float(self._has_form(response)) for response in responses))

    def _has_form(self, response: Response) -> bool:
        if self.options.stopped and response.finish_reason != "stop":
            return False
        if self._pattern is not None:
            return self._pattern.fullmatch(response.text) is not None
        return has_form(response.text, self.options.form or "")


def has_form(text: str, form: str) -> bool:
    """Whether a whole response has the form of this name."""
    if form == "think_answer":
        return _THINK_ANSWER.fullmatch(text) is not None
    if form == "boxed":
        return len(_BOXED.findall(visible_text(text))) == 1
    thinking, final = list(_THINKING.finditer(text)), list(_FINAL.finditer(text))
    if len(thinking) != 1 or len(final) != 1 or text[: thinking[0].start()].strip():
        return False
    thought = text[thinking[0].end() : final[0].start()]
    return thinking[0].end() <= final[0].start() and all(
        part.strip() for part in (thought, text[final[0].end() :])
    )
