"""Dialogues of several turns: what the other side says, as the tokens that stand between two turns of the policy.

What was sampled is never tokenised again. The other side's turn is rendered by the chat template after a stand-in
for the policy's, and only the tokens after that stand-in are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from medray.data.rendering.chat import ChatOptions, ChatRenderer
from medray.types import Record

K = TypeVar("K")
Reply = Callable[[Record, Sequence[str]], str | None]
"""(record, the policy's turns so far) -> what the user says next; None ends the dialogue."""

STAND_IN = "ok"
NUM_THREADS = 16
LOOK_S = 0.05


@dataclass(frozen=True)
class EnvironmentTurn:
    """The other side's turn: its text, and the tokens from the end of one of the policy's turns to the next's start."""

    text: str
    stop_token: int  # ends a turn of the policy
    token_ids: tuple[int, ...]


class Dialogues(Generic[K]):
    """Replies under way, each for a key of the caller's."""

    def __init__(
        self, reply: Reply, renderer: ChatRenderer, max_turns: int, *, in_order: bool = False
    ) -> None:
        """`in_order` gives replies in the order they were asked for, however long each takes."""
        self.max_turns = max_turns
        self._reply = reply
        self._renderer = renderer
        self._in_order = in_order
        self._threads = ThreadPoolExecutor(NUM_THREADS, "environment")
        self._pending: dict[Future[EnvironmentTurn | None], K] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a reply is under way."""
        return bool(self._pending)

    def ask(self, key: K, record: Record, turns: Sequence[str]) -> None:
        """Have a turn answered, beside whatever the caller does."""
        self._pending[self._threads.submit(self._answer, record, tuple(turns))] = key

    def answered(self, *, idle: bool) -> list[tuple[K, EnvironmentTurn | None]]:
        """Replies that have come; None where the dialogue is over.

        Args:
            idle: the caller has nothing else to do, so it may wait a moment for the first.

        Raises:
            Whatever the environment raised.
        """
        if not self._pending:
            return []
        if self._in_order:
            done = list(self._pending)
        else:
            timeout = LOOK_S if idle else 0
            ready = wait(self._pending, timeout=timeout, return_when=FIRST_COMPLETED).done
            done = [future for future in self._pending if future in ready]
        return [(self._pending.pop(future), future.result()) for future in done]

    def forget(self) -> None:
        """Cancel all pending environment turns, after their samples were aborted."""
        for future in self._pending:
            future.cancel()
        self._pending.clear()

    def _answer(self, record: Record, turns: tuple[str, ...]) -> EnvironmentTurn | None:
        text = self._reply(record, turns)
        return None if text is None else environment_turn(self._renderer, record, text)


def environment_turn(renderer: ChatRenderer, record: Record, text: str) -> EnvironmentTurn:
    """`text` as the user's turn between two turns of the policy."""
    messages = [
        *record.messages,
        {"role": "assistant", "content": STAND_IN},
        {"role": "user", "content": text},
    ]
    options = ChatOptions(tools=record.tools, add_generation_prompt=True)
    chat = renderer.render(messages, options)
    end = [turn.end for turn in chat.turns if turn.message == len(record.messages)][-1]
    ids = [int(t) for t in chat.token_ids]
    return EnvironmentTurn(text, ids[end - 1], tuple(ids[end:]))
