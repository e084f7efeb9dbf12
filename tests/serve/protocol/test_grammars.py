"""Grammars are compiled in a process of their own, which may be slow, or die."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medray.serve.errors import ApiError
from medray.serve.protocol import grammar_worker, grammars
from medray.serve.protocol.constraints import Constraint
from medray.serve.protocol.grammars import LATE_S, GrammarChecks

WIDE = {"type": "object", "properties": {f"k{i}": {"type": "string"} for i in range(4000)}}


@pytest.fixture(scope="module")
def checks() -> Iterator[GrammarChecks]:
    made = GrammarChecks()
    yield made
    made.close()


def _require(checks: GrammarChecks, model: Path, kind: Any, value: Any) -> None:
    wanted = [Constraint(kind, value, "the_field")]
    asyncio.run(checks.require(wanted, str(model), trusted=False))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}),
        ("json", {"type": "object", "properties": {"a": {"$ref": "#"}}}),
        ("regex", "[a-c]{1,3}"),
        ("grammar", 'root ::= "yes" | "no"'),
    ],
)
def test_good_ones_pass(checks: GrammarChecks, tiny_model: Path, kind: str, value: Any) -> None:
    _require(checks, tiny_model, kind, value)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("json", {"type": "nosuch"}, "Unsupported type"),
        ("json", {"type": "integer", "minimum": 5, "maximum": 1}, "minimum"),
        ("json", {"enum": []}, "enum"),
        ("json", {"properties": 5}, "properties must be an object"),
        ("json", {"$ref": "#"}, "no answer"),
        ("regex", "(", "not closed"),
        ("regex", "(?=a)b", "not supported"),
        ("grammar", "root ::= a", "not defined"),
        ("grammar", "root ::= root", "no answer"),
    ],
)
def test_bad_ones_are_refused_with_the_reason(
    checks: GrammarChecks, tiny_model: Path, kind: str, value: Any, said: str
) -> None:
    with pytest.raises(ApiError, match=said) as caught:
        _require(checks, tiny_model, kind, value)
    assert (caught.value.status, caught.value.param) == (400, "the_field")
    assert "/project" not in caught.value.message


def test_a_lost_process_is_replaced(checks: GrammarChecks, tiny_model: Path) -> None:
    _require(checks, tiny_model, "regex", "a+")
    process = checks._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _require(checks, tiny_model, "regex", "b+")


def test_one_that_takes_too_long_is_refused_and_the_next_is_not(tiny_model: Path) -> None:
    checks = GrammarChecks(compile_s=0.2)
    try:
        with pytest.raises(ApiError, match="longer than"):
            _require(checks, tiny_model, "json", WIDE)
        _require(checks, tiny_model, "regex", "c+")
    finally:
        checks.close()


def test_what_is_known_is_not_asked_again(
    checks: GrammarChecks, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = checks._ask

    def counted(question: dict[str, Any], seconds: float) -> Any:
        asked.append(question["value"])
        return ask(question, seconds)

    monkeypatch.setattr(checks, "_ask", counted)
    for pattern in ("d+", "d+", "e+", "d+"):
        _require(checks, tiny_model, "regex", pattern)
    assert [each for each in asked if each is not None] == ["d+", "e+"]


def _asked(checks: GrammarChecks, pattern: str) -> str | None:
    """What is wrong with a pattern, by a check whose process is a stand-in."""
    try:
        asyncio.run(checks.require([Constraint("regex", pattern, "f")], "m", trusted=False))
    except ApiError as error:
        return error.message
    return None


def test_grammars_that_wait_hold_no_thread_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = threading.Event()

    def ask(*_: object) -> dict[str, str | None]:
        assert compiled.wait(60)
        return {"fault": None}

    checks = GrammarChecks()
    monkeypatch.setattr(checks, "_ask", ask)

    async def flood() -> str:
        wanted = [Constraint("regex", f"{i}+", "f") for i in range(64)]
        waiting = [
            asyncio.create_task(checks.require([each], "m", trusted=False)) for each in wanted
        ]
        await asyncio.sleep(0.1)
        try:
            return await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 20)
        finally:
            compiled.set()
            await asyncio.gather(*waiting)

    assert asyncio.run(flood()) == "done"
    checks.close()


def test_a_late_one_is_refused_unasked_for_a_while_and_then_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    asked: list[str] = []
    late = [True]

    def ask(question: dict[str, Any], _: float) -> dict[str, str | None] | None:
        if question["kind"] is None:
            return {"fault": None}
        asked.append(question["value"])
        return None if late[0] else {"fault": None}

    checks = GrammarChecks()
    monkeypatch.setattr(checks, "_ask", ask)
    monkeypatch.setattr(grammars, "monotonic", lambda: now)
    assert "longer than" in (_asked(checks, "a+") or "")
    late[0] = False
    now += LATE_S - 1
    assert "longer than" in (_asked(checks, "a+") or "")
    assert asked == ["a+"]
    now += 2
    assert _asked(checks, "a+") is None
    now += 1e9
    assert _asked(checks, "a+") is None
    assert asked == ["a+", "a+"]
    checks.close()


def test_the_process_keeps_the_tokenizer_of_every_model(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    loaded: list[str] = []
    load = AutoTokenizer.from_pretrained

    def counted(source: str, **options: Any) -> Any:
        loaded.append(source)
        return load(source, **options)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", counted)
    sources = [str(tmp_path / str(i)) for i in range(6)]
    for source in sources:
        Path(source).symlink_to(tiny_model)
    for source in sources * 2:
        question = {"kind": "regex", "value": "a+", "source": source, "trusted": False}
        assert grammar_worker._fault(question) is None
    assert loaded == sources
    grammar_worker._compiler.cache_clear()
