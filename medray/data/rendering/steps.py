"""An answer in steps as tokens, and where each step ends: what process reward models are trained on and read at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medray.data.rendering.chat import ChatOptions, ChatRenderer
from medray.data.rendering.tokens import encode
from medray.errors import ModelError
from medray.types import Message, TokenIds


class StepChat(NamedTuple):
    """A dialogue whose last turn is an answer in steps."""

    token_ids: TokenIds  # [T]
    ends: npt.NDArray[np.int64]  # [S] index of the token that ends each step


def split_steps(text: str, separator: str) -> list[str]:
    """The steps of an answer, without what surrounds them; an answer that says nothing is one empty step."""
    return [step.strip() for step in text.split(separator) if step.strip()] or [""]


def joined_step(text: str, separator: str) -> str:
    """A step without the separator, which would end it: a line break or a blank takes its place."""
    return ("\n" if separator != "\n" and "\n" in separator else " ").join(
        split_steps(text, separator)
    )


def render_steps(
    renderer: ChatRenderer,
    messages: Sequence[Message],
    steps: Sequence[str],
    separator: str,
    options: ChatOptions,
) -> StepChat:
    """Render a dialogue with an answer in steps once, and tell where each step ends.

    A step ends with the separator that follows it; the last one with the answer's stop token. No token straddles the
    end of a step.

    Args:
        renderer: of the model's tokenizer.
        messages: what is answered.
        steps: [S], none of which holds the separator.
        separator: between steps.
        options: tools and variables of the template.

    Raises:
        ModelError: the template refuses the dialogue, or changes the answer.
        DataError: a message is malformed.
    """
    answer: Message = {"role": "assistant", "content": separator.join(steps)}
    rendered = renderer.render([*messages, answer], options)
    turns = [turn.characters for turn in rendered.turns]
    start, end = turns.pop()
    cuts = _cuts(rendered.text[start:end], steps, separator)
    own = list(pairwise([start, *(start + cut for cut in cuts), end]))
    encoded = encode(renderer.tokenizer, rendered.text, [*turns, *own])
    found = [np.flatnonzero(encoded.span == len(turns) + i) for i in range(len(steps))]
    if not all(len(tokens) for tokens in found):
        raise ModelError(
            "the tokenizer gives a step no token of its own: use another chat.step_separator"
        )
    return StepChat(encoded.token_ids, np.array([tokens[-1] for tokens in found], dtype=np.int64))


def _cuts(turn: str, steps: Sequence[str], separator: str) -> list[int]:
    """Where each step but the last one ends in the text of a turn, its separator included."""
    if len(steps) == 1:
        return []
    at = turn.find(separator.join(steps))
    if at < 0:
        raise ModelError(
            "the chat template changes an answer in steps: set model.template to a named one"
        )
    ends = np.cumsum([len(step) + len(separator) for step in steps[:-1]])
    return [at + int(end) for end in ends]
