"""Dialogues that are too long: the oldest exchanges go first, whole, and the loss is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medray.data.rendering.chat import RenderedChat, RenderedFrom
from medray.errors import DataError


@dataclass(frozen=True, slots=True)
class Truncated:
    """What is left of a dialogue, and what is gone.

    `dropped` are the messages left out, by index; `num_cut_tokens` were cut from the end of the last answer.
    `rendered` is None when nothing trained fits, and `reason` says so.
    """

    rendered: RenderedChat | None
    dropped: tuple[int, ...] = ()
    num_cut_tokens: int = 0
    reason: str = ""

    @property
    def changed(self) -> bool:
        """True when anything is gone."""
        return bool(self.dropped or self.num_cut_tokens or self.rendered is None)


def truncate(rendered: RenderedChat, max_tokens: int, *, cut_answer: bool = True) -> Truncated:
    """Make a dialogue fit into `max_tokens`, in this order, stopping as soon as it does.

    1. Messages after the last answer go: nothing in them is trained.
    2. The oldest exchanges go, each a user's message with all that answers it, and the rest is rendered anew:
       round numbers, and a system text that stands inside the first question, stay right. System messages at the
       start are kept, and so is the last exchange.
    3. The last answer is cut at its end, if `cut_answer`. Its header is never cut, and a cut answer gets no
       stop token.

    Args:
        rendered: from `render_chat`, whole.
        max_tokens: at most this many tokens.
        cut_answer: False gives up a dialogue whose last exchange alone is too long.
    """
    if len(rendered.token_ids) <= max_tokens:
        return Truncated(rendered)
    source = rendered.source
    if source is None:
        raise DataError("only a dialogue as render_chat made it can be truncated")
    last = max((turn.message for turn in rendered.turns), default=-1)
    if last < 0:
        return Truncated(None, reason="it has no answer")
    head, starts = _exchanges(source.messages[: last + 1])
    tail = tuple(range(last + 1, len(source.messages)))

    def without(num_exchanges: int) -> tuple[RenderedChat, tuple[int, ...]]:
        first = starts[num_exchanges]
        kept = [*range(head), *range(first, last + 1)]
        return _render(source, kept), (*range(head, first), *tail)

    low, high = 0, len(starts) - 1  # the fewest exchanges to drop, by bisection
    while low < high:
        middle = (low + high) // 2
        if len(without(middle)[0].token_ids) <= max_tokens:
            high = middle
        else:
            low = middle + 1
    shorter, dropped = without(low)
    if len(shorter.token_ids) > max_tokens:
        return _cut(shorter, max_tokens, dropped, cut_answer)
    if not shorter.trained.any():
        return Truncated(None, dropped, reason="nothing trained is left")
    return Truncated(shorter, dropped)


def _exchanges(messages: Sequence[Mapping[str, Any]]) -> tuple[int, list[int]]:
    """How many system messages there are at the start, and where each exchange begins."""
    roles = [message["role"] for message in messages]
    head = next((i for i, role in enumerate(roles) if role != "system"), len(roles))
    starts = [
        i
        for i in range(head, len(roles))
        if i == head or (roles[i] == "user" and roles[i - 1] != "user")
    ]
    return head, starts


def _render(source: RenderedFrom, kept: list[int]) -> RenderedChat:
    part = source.renderer.render([source.messages[i] for i in kept], source.options)
    turns = tuple(turn._replace(message=kept[turn.message]) for turn in part.turns)
    return replace(part, turns=turns)


def _cut(
    rendered: RenderedChat, max_tokens: int, dropped: tuple[int, ...], cut_answer: bool
) -> Truncated:
    """Cut within an answer, or after one: what follows up to `max_tokens` would be no answer's."""
    begun = [turn for turn in rendered.turns if turn.start < max_tokens and turn.start < turn.end]
    end = min(begun[-1].end, max_tokens) if begun else 0
    if not cut_answer or not rendered.trained[:end].any():
        reason = "its last exchange is too long" if not cut_answer else "its prompt leaves no room"
        return Truncated(None, dropped, reason=f"{reason} ({len(rendered.token_ids)} tokens)")
    token_ids = rendered.token_ids[:end]
    turns = (*begun[:-1], begun[-1]._replace(end=end))
    text = rendered.source.renderer.decode(token_ids) if rendered.source else rendered.text
    lost = rendered.num_lost_thoughts
    part = RenderedChat(token_ids, rendered.trained[:end], text, turns, lost)
    return Truncated(part, dropped, len(rendered.token_ids) - end)
