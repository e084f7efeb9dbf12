"""An environment that raises, hangs or returns garbage costs one group, named; scripted engine, no Ray."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medray.data.templates.registry import Stops
from medray.engines import dialogue
from medray.engines.base import Generated, GroupFailed
from medray.engines.dialogue import MAX_CHARS, Dialogues, EnvironmentTurn
from medray.engines.requests import Sample
from medray.engines.vllm import sampler as sampling
from medray.engines.vllm.sampler import Sampler
from medray.errors import EnvironmentFailed
from medray.types import GenerateSpec, Prompt, Record, SamplingContract

SPEC = GenerateSpec(SamplingContract(), 2, 8)


class StrLike(str):
    """A str that is not one."""


class ScriptedEngine:
    """Ends every request in its first step with one token."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.aborted: list[str] = []

    def add_request(self, name: str, prompt: Any, params: Any) -> None:
        self.requests.append(name)

    def abort_request(self, names: Sequence[str]) -> None:
        self.aborted += names
        self.requests = [name for name in self.requests if name not in names]

    def step(self) -> list[Any]:
        part = SimpleNamespace(
            text="hm",
            token_ids=[5],
            logprobs=[{5: SimpleNamespace(logprob=-1.0)}],
            finish_reason="stop",
        )
        names, self.requests = self.requests, []
        return [
            SimpleNamespace(request_id=n, outputs=[part], finished=True, num_cached_tokens=0)
            for n in names
        ]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = lambda renderer, record, text: EnvironmentTurn(text, 9, (7,))  # noqa: E731
    monkeypatch.setattr(dialogue, "environment_turn", turn)
    monkeypatch.setattr(sampling, "request_params", lambda **settings: settings)


def _sampler(
    reply: Callable[[Record, Sequence[str]], Any], **settings: Any
) -> tuple[Sampler, ScriptedEngine]:
    engine = ScriptedEngine()
    renderer: Any = None
    dialogues: Dialogues[Sample] = Dialogues(reply, renderer, 2, name="mine:Own", **settings)
    return Sampler(engine, Stops((), ()), dialogues), engine


def _prompt(name: str) -> Prompt:
    record = Record(id=name, messages=({"role": "user", "content": "?"},))
    return Prompt(record, np.array([1, 2], dtype=np.int32))


def _run(sampler: Sampler, names: Sequence[str]) -> dict[int, Generated | GroupFailed]:
    for key, name in enumerate(names):
        sampler.submit(key, _prompt(name), 0, SPEC)
    found: dict[int, Generated | GroupFailed] = {}
    end = time.monotonic() + 20
    while sampler.busy:
        assert time.monotonic() < end, "the sampler stands"
        for done in sampler.step(1):
            assert done.index not in found
            found[done.index] = done
    return found


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: _raise(ValueError("no key\nmore")), "ValueError: no key"),
        (lambda: _raise(SystemExit(3)), "SystemExit: 3"),
        (lambda: 3, "reply must return str or None, not int"),
        (lambda: b"x", "not bytes"),
        (lambda: StrLike("x"), "not StrLike"),
        (lambda: "x" * (MAX_CHARS + 1), "1,000,001 characters"),
        (lambda: "a\ud800", "lone surrogate at character 1"),
    ],
)
def test_a_bad_reply_fails_its_group_alone(
    answer: Callable[[], Any], words: str, in_order: bool
) -> None:
    sampler, _ = _sampler(lambda r, _: answer() if r.id == "b" else "go on", in_order=in_order)
    found = _run(sampler, ["a", "b", "c"])
    failed = found.pop(1)
    assert isinstance(failed, GroupFailed)
    assert isinstance(failed.error, EnvironmentFailed)
    text = str(failed.error)
    assert text.startswith("environment mine:Own, prompt b: ")
    assert words in text
    assert "\n" not in text
    assert sorted(found) == [0, 2]
    assert all(isinstance(done, Generated) for done in found.values())


@pytest.mark.parametrize("in_order", [False, True])
def test_calls_that_hang_fail_by_name_and_leave_threads_for_others(
    monkeypatch: pytest.MonkeyPatch, in_order: bool
) -> None:
    monkeypatch.setattr(dialogue, "NUM_THREADS", 2)
    release = threading.Event()

    def reply(record: Record, _: Sequence[str]) -> str:
        if record.id.startswith("slow"):
            release.wait(30)
        return "go on"

    sampler, _ = _sampler(reply, in_order=in_order, deadline_s=0.3)
    try:
        found = _run(sampler, ["slow1", "slow2", "a", "b"])
    finally:
        release.set()
    kinds = [type(found[i]) for i in range(4)]
    assert kinds == [GroupFailed, GroupFailed, Generated, Generated]
    late = found[0]
    assert isinstance(late, GroupFailed)
    assert "prompt slow1: no reply within 0.3 s (rollout.environment.deadline_s)" in str(late.error)


def test_the_rest_of_a_failed_group_leaves_the_engine() -> None:
    calls: list[int] = []

    def reply(record: Record, turns: Sequence[str]) -> str:
        calls.append(1)
        if len(calls) == 1:
            return "go on"
        time.sleep(0.1)
        raise ValueError("once")

    sampler, engine = _sampler(reply)
    sampler.submit(0, _prompt("a"), 0, SPEC)
    sampler.step(1)
    time.sleep(0.3)  # both replies are there: one goes on, one fails, in one look
    found = list(sampler.step(1))
    while sampler.busy:
        found += sampler.step(1)
    assert [type(done) for done in found] == [GroupFailed]
    assert engine.requests == []
    assert not sampler.busy


def test_a_call_that_hangs_in_a_failed_group_holds_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Samples of the failed groups hang in every thread there is; the last group still gets its replies."""
    monkeypatch.setattr(dialogue, "NUM_THREADS", 2)
    release, calls = threading.Event(), dict.fromkeys("abc", 0)
    lock = threading.Lock()

    def reply(record: Record, _: Sequence[str]) -> str:
        with lock:
            calls[record.id] += 1
            is_first = calls[record.id] == 1
        if record.id == "c":
            return "go on"
        if is_first:
            release.wait(30)
        raise ValueError("no")

    sampler, _ = _sampler(reply, deadline_s=60)
    try:
        found = _run(sampler, ["a", "b", "c"])
    finally:
        release.set()
    assert [type(found[i]) for i in range(3)] == [GroupFailed, GroupFailed, Generated]


def test_none_ends_the_dialogue() -> None:
    sampler, _ = _sampler(lambda r, t: None)
    assert isinstance(_run(sampler, ["a"])[0], Generated)
