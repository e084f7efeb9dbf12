"""Asks a judge, and returns verdicts of the asked form or raises `JudgeFailed`.

Each process has one thread with an event loop for all judges, so that rewards stay plain functions and the limit of
requests under way holds over all groups that are being graded.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel

from medray.config.judges import JudgeConfig
from medray.errors import GraderError, first_line
from medray.observability.logging import get_logger
from medray.rewards.judges.cache import VerdictCache
from medray.rewards.judges.parsing import Unusable, parse_verdict
from medray.types import Message

_logger = get_logger(__name__)
V = TypeVar("V", bound=BaseModel)
_LOOP_LOCK = threading.Lock()
_RETRIED = (408, 409, 425, 429)
MAX_WAIT_S = 60.0
"""Longest wait before a retry."""


class JudgeFailed(GraderError):
    """A judge gave no usable verdict in the tries and the time that it has."""


@dataclass(frozen=True, slots=True)
class Question(Generic[V]):
    """What a judge is asked: a chat, the form of the verdict, and how many verdicts there must be in it."""

    messages: tuple[Message, ...]
    form: type[V]
    template: str
    """Hash of the template that the chat was made from."""
    check: Any = None
    """A function that raises ValueError for a verdict of the form that cannot be right, or None."""


class _Retry(Exception):
    """A request that may be sent again; `wait_s` is what the server asks for."""

    def __init__(self, text: str, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class Judge:
    """A client of one judge; cheap to make, connects with the first question."""

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self.cache = VerdictCache(config.cache) if config.cache else None
        self._client: httpx.AsyncClient | None = None
        self._slots: asyncio.Semaphore | None = None

    @property
    def provenance(self) -> dict[str, object]:
        """What a verdict depends on besides its question: model and sampling."""
        wanted = ("model", "temperature", "top_p", "seed", "max_tokens", "structured")
        return {name: getattr(self.config, name) for name in wanted}

    def ask(self, questions: Sequence[Question[V]]) -> list[V]:
        """Verdicts in the order of the questions, which are asked concurrently.

        Raises:
            JudgeFailed: one of them has none; the text names the judge and the last failure.
        """
        if not questions:
            return []
        with _LOOP_LOCK:  # a cached function that several threads call at first runs in each
            loop = _loop()
        return asyncio.run_coroutine_threadsafe(self._ask_all(questions), loop).result()

    async def _ask_all(self, questions: Sequence[Question[V]]) -> list[V]:
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers=self._headers(),
                timeout=None,
                trust_env=False,
                limits=httpx.Limits(max_connections=self.config.concurrency),
                verify=self.config.url.startswith("https"),
            )
            self._slots = asyncio.Semaphore(self.config.concurrency)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._guarded(question)) for question in questions]
        found = [task.result() for task in tasks]
        for one in found:
            if isinstance(one, JudgeFailed):
                raise one
        return [one for one in found if not isinstance(one, JudgeFailed)]

    async def _guarded(self, question: Question[V]) -> V | JudgeFailed:
        """The verdict, or why there is none: the other verdicts of a group still reach the cache."""
        try:
            return await self._verdict(question)
        except JudgeFailed as failure:
            return failure

    async def _verdict(self, question: Question[V]) -> V:
        key = VerdictCache.key(self.provenance, question.template, question.messages, question.form)
        if self.cache is not None and (kept := self.cache.get(key, question.form)) is not None:
            return kept
        assert self._slots is not None
        async with self._slots:
            verdict = await self._asked_again(question)
        if self.cache is not None:
            self.cache.put(key, verdict, self.provenance | {"template": question.template})
        return verdict

    async def _asked_again(self, question: Question[V]) -> V:
        """Ask until the answer has the form, telling the judge what was wrong with the one before."""
        messages = list(question.messages)
        last_chance, problem = time.monotonic() + self.config.deadline_s, ""
        for repair in range(self.config.repairs + 1):
            text = await self._answer(messages, question, last_chance)
            try:
                return parse_verdict(text, question.form, question.check)
            except Unusable as error:
                problem = str(error)
                _logger.debug("judge %s: unusable answer %d: %s", self.config.name, repair, problem)
            again = f"That is not the JSON that was asked for ({problem}). Answer with the JSON object only."
            messages = [
                *question.messages,
                {"role": "assistant", "content": text[:4000] or "?"},
                {"role": "user", "content": again},
            ]
        raise self._failed(f"{self.config.repairs + 1} unusable answers, the last: {problem}")

    async def _answer(
        self, messages: Sequence[Message], question: Question[Any], last_chance: float
    ) -> str:
        """The text of an answer, with retries."""
        problem, attempt = "", 0
        for attempt in range(self.config.retries + 1):
            left = last_chance - time.monotonic()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(min(self.config.timeout_s, left)):
                    return await self._request(messages, question)
            except TimeoutError:
                problem, wait = f"no answer within {min(self.config.timeout_s, left):.3g} s", 0.0
            except _Retry as error:
                problem, wait = str(error), error.wait_s
            if attempt < self.config.retries:
                wait = min(max(wait, self.config.backoff_s * 2**attempt), MAX_WAIT_S)
                await asyncio.sleep(min(wait, max(0.0, last_chance - time.monotonic())))
        late = time.monotonic() >= last_chance
        tries = (
            f"within deadline_s={self.config.deadline_s:g}" if late else f"in {attempt + 1} tries"
        )
        raise self._failed(f"no answer {tries}: {problem}")

    async def _request(self, messages: Sequence[Message], question: Question[Any]) -> str:
        assert self._client is not None
        body = self._body(messages, question)
        try:
            reply = await self._client.post(f"{self.config.url}/chat/completions", json=body)
        except httpx.HTTPError as error:
            raise _Retry(f"{type(error).__name__}: {first_line(error)}") from None
        if reply.status_code in _RETRIED or reply.status_code >= 500:
            raise _Retry(f"status {reply.status_code}", _retry_after(reply))
        if reply.status_code != 200:
            raise self._failed(f"status {reply.status_code}: {reply.text[:200]}")
        try:
            content = reply.json()["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise _Retry("the reply is not a chat completion") from None
        return content if isinstance(content, str) else ""

    def _body(self, messages: Sequence[Message], question: Question[Any]) -> dict[str, object]:
        config = self.config
        body: dict[str, object] = {
            "model": config.model,
            "messages": [{"role": m["role"], "content": m["content"]} for m in messages],
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_tokens": config.max_tokens,
        }
        if config.seed is not None:
            body["seed"] = config.seed
        if config.structured:
            schema = {
                "name": "verdict",
                "schema": question.form.model_json_schema(),
                "strict": True,
            }
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _headers(self) -> dict[str, str]:
        variable = self.config.api_key_variable
        if variable is None:
            return {}
        if not (key := os.environ.get(variable)):
            raise self._failed(f"the environment variable {variable} is not set (api_key_variable)")
        return {"Authorization": f"Bearer {key}"}

    def _failed(self, problem: str) -> JudgeFailed:
        return JudgeFailed(
            f"judge {self.config.name} ({self.config.model} at {self.config.url}): {problem}"
        )


JUDGES: dict[str, Judge] = {}
"""The judges of this process, by their settings as JSON."""


def judge_of(config: JudgeConfig) -> Judge:
    """The client of a judge; rewards of one process that name the same judge share it, and its limit of requests."""
    return JUDGES.setdefault(config.model_dump_json(), Judge(config))


def template_hash(*texts: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a template's texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def log_provenance(reward: str, judge: Judge, templates: Mapping[str, str]) -> None:
    """Report which judge grades, with which templates and sampling, so that its numbers can be told apart."""
    said = ", ".join(f"{name} {digest}" for name, digest in templates.items())
    how = ", ".join(f"{name}={value}" for name, value in judge.provenance.items())
    _logger.info("reward %s: judge %s, template %s, %s", reward, judge.config.name, said, how)


def _retry_after(reply: httpx.Response) -> float:
    try:
        return max(0.0, float(reply.headers.get("Retry-After", 0)))
    except ValueError:  # a date
        return 0.0


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="judges", daemon=True).start()
    return loop
