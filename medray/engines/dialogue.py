"""Dialogues of several turns: what the other side says, as the tokens that stand between two turns of the policy.

What was sampled is never tokenised again. The other side's turn is rendered by the chat template after a stand-in
for the policy's, and only the tokens after that stand-in are taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from medray.data.rendering.chat import ChatOptions, ChatRenderer
from medray.errors import EnvironmentFailed, first_line
from medray.types import Record

K = TypeVar("K")
Reply = Callable[[Record, Sequence[str]], str | None]
"""(record, the policy's turns so far, without its thoughts) -> what the user says next; None ends the dialogue."""

STAND_IN = "ok"
NUM_THREADS = 16
LOOK_S = 0.05
DEADLINE_KEY = "rollout.environment.deadline_s"
MAX_CHARS = 1_000_000  # of one reply: rendering more would stall the engine's process


@dataclass(frozen=True)
class EnvironmentTurn:
    """The other side's turn: its text, and the tokens from the end of one of the policy's turns to the next's start."""

    text: str
    stop_token: int  # ends a turn of the policy
    token_ids: tuple[int, ...]


Answer = EnvironmentTurn | EnvironmentFailed | None


@dataclass
class _Call:
    """A turn that the environment is asked to answer."""

    record: Record
    turns: tuple[str, ...]
    began: float | None = None  # when a thread took it, monotonic seconds
    late: EnvironmentFailed | None = None  # set once it has taken too long


class Dialogues(Generic[K]):
    """Replies under way, each for a key of the caller's."""

    def __init__(
        self,
        reply: Reply,
        renderer: ChatRenderer,
        max_turns: int,
        *,
        name: str = "the environment",
        in_order: bool = False,
        deadline_s: float = 120.0,
    ) -> None:
        """Answer turns with `reply`.

        Args:
            reply: asks the environment.
            renderer: renders its replies.
            max_turns: turns of the policy; the last is not answered.
            name: of the environment, for messages.
            in_order: give replies in the order they were asked for, however long each takes.
            deadline_s: longest time that one call may take once a thread has begun it.
        """
        self._name = name
        self._deadline_s = deadline_s
        self.max_turns = max_turns
        self._reply = reply
        self._renderer = renderer
        self._in_order = in_order
        self._threads = ThreadPoolExecutor(NUM_THREADS, "environment")
        self._pending: dict[Future[Answer], tuple[K, _Call]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a reply is under way."""
        return bool(self._pending)

    def ask(self, key: K, record: Record, turns: Sequence[str]) -> None:
        """Have a turn answered, beside whatever the caller does."""
        self._submit(key, _Call(record, tuple(turns)))

    def answered(self, *, idle: bool) -> list[tuple[K, Answer]]:
        """Replies that have come; None where the dialogue is over, the failure where there is none.

        Args:
            idle: the caller has nothing else to do, so it may wait a moment for the first.
        """
        if not self._pending:
            return []
        ready = self._look(LOOK_S if idle else 0)
        while self._in_order and len(ready) < len(self._pending):
            ready = self._look(LOOK_S)
        answers: list[tuple[K, Answer]] = []
        for future in ready:
            key, call = self._pending.pop(future)
            answers.append((key, call.late or future.result()))
        return answers

    def forget(self, is_meant: Callable[[K], bool] = lambda _: True) -> None:
        """Cancel pending environment turns, after their samples were aborted; a call under way ends unheard."""
        meant = [future for future, (key, _) in self._pending.items() if is_meant(key)]
        is_left = False
        for future in meant:
            is_left = (not future.cancel() and not future.done()) or is_left
            del self._pending[future]
        if is_left:  # nothing measures such a call any more, and it may hold its thread for ever
            self._replace_threads()

    def _look(self, timeout: float) -> list[Future[Answer]]:
        """The calls that have ended or take too long, in the order they were made."""
        running = [future for future, (_, call) in self._pending.items() if call.late is None]
        wait(running, timeout, return_when=ALL_COMPLETED if self._in_order else FIRST_COMPLETED)
        now, text = time.monotonic(), f"no reply within {self._deadline_s:g} s ({DEADLINE_KEY})"
        found_late = False
        for future in running:
            call = self._pending[future][1]
            # A call's time begins when a thread takes it: a full queue is not the environment's fault.
            if not future.done() and call.began is not None and now - call.began > self._deadline_s:
                call.late = self._failure(call.record, text)
                found_late = True
        if found_late:
            self._replace_threads()
        return [f for f, (_, call) in self._pending.items() if f.done() or call.late is not None]

    def _replace_threads(self) -> None:
        """Give what waits for a thread to new ones, and leave those that hang behind.

        Python cannot stop a thread. Without new ones, `NUM_THREADS` calls that hang would end all dialogues.
        """
        self._threads.shutdown(wait=False)
        self._threads = ThreadPoolExecutor(NUM_THREADS, "environment")
        for future, (key, call) in list(self._pending.items()):  # their order stays
            del self._pending[future]
            if future.cancel():
                self._submit(key, call)
            else:
                self._pending[future] = key, call

    def _submit(self, key: K, call: _Call) -> None:
        self._pending[self._threads.submit(self._answer, call)] = key, call

    def _answer(self, call: _Call) -> Answer:
        call.began = time.monotonic()
        try:
            text: object = self._reply(call.record, call.turns)
            if text is None:
                return None
            if problem := reply_problem(text):
                return self._failure(call.record, problem)
            return environment_turn(self._renderer, call.record, str(text))
        except (Exception, SystemExit) as error:
            return self._failure(call.record, f"{type(error).__name__}: {first_line(error)}")

    def _failure(self, record: Record, text: str) -> EnvironmentFailed:
        return EnvironmentFailed(f"environment {self._name}, prompt {record.id}: {text}")


def reply_problem(text: object) -> str:
    """Say why a reply cannot be used; empty where it can."""
    if type(text) is not str:
        return f"reply must return str or None, not {type(text).__name__}"
    if len(text) > MAX_CHARS:
        return f"the reply has {len(text):,} characters, more than {MAX_CHARS:,}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"the reply is not valid Unicode (lone surrogate at character {error.start})"
    return ""


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
