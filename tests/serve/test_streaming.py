"""The safety hook on OpenAI-shaped answers: what it adds, and what it must not touch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from medray.medical.safety.guard import Guard
from medray.serve.streaming import GuardedAnswer

RED_FLAG = "I have crushing chest pain"


def _chunk(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


def _packets(*chunks: dict[str, Any]) -> list[str]:
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]


def _events(guarded: GuardedAnswer, packets: list[str]) -> list[str]:
    async def source() -> AsyncIterator[str]:
        for packet in packets:
            yield packet

    async def collect() -> list[str]:
        return [event async for event in guarded.events(source())]

    return asyncio.run(collect())


def _texts(events: list[str], index: int = 0) -> str:
    chunks = [json.loads(e.removeprefix("data: ")) for e in events if "[DONE]" not in e]
    choices = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
    return "".join(c["delta"].get("content") or "" for c in choices)


CHUNKS = (
    _chunk(role="assistant", content=""),
    _chunk(content="Your "),
    _chunk(content="heart", finish="length"),
)


def test_advice_words_disclaimer_then_the_finish_reason() -> None:
    events = _events(GuardedAnswer(Guard().before([RED_FLAG]), chat=True), _packets(*CHUNKS))
    text = _texts(events)
    assert text.index("emergency number") < text.index("Your heart") < text.index("not a diagnosis")
    last = json.loads(events[-2].removeprefix("data: "))
    assert last["choices"][0]["finish_reason"] == "length"
    assert not last["choices"][0]["delta"]["content"]
    assert events[-1] == "data: [DONE]\n\n"
    marked = [e for e in events if "medray_safety" in e]
    assert '"red_flags":["chest_pain"]' in marked[0]


@pytest.mark.parametrize("split", [True, False])
def test_events_are_found_however_packets_are_cut_by_event(split: bool) -> None:
    packets = _packets(*CHUNKS) if split else ["".join(_packets(*CHUNKS))]
    guarded = GuardedAnswer(Guard().before(["hello"]), chat=True)
    assert _texts(_events(guarded, packets)).startswith("Your heart\n\n")


def test_each_choice_gets_its_own() -> None:
    chunks = [_chunk(i, content=f"answer {i}", finish="stop") for i in (1, 0)]
    events = _events(GuardedAnswer(Guard().before([RED_FLAG]), chat=True), _packets(*chunks))
    for index in (0, 1):
        assert _texts(events, index).count("emergency number") == 1
        assert _texts(events, index).count("not a diagnosis") == 1
        assert f"answer {index}" in _texts(events, index)


@pytest.mark.parametrize(
    ("guard", "plain_text"), [(Guard("off"), True), (Guard("report"), True), (Guard(), False)]
)
def test_nothing_changes_where_nothing_may(guard: Guard, plain_text: bool) -> None:
    guarded = GuardedAnswer(guard.before([RED_FLAG]), chat=True, plain_text=plain_text)
    events = _events(guarded, _packets(*CHUNKS))
    assert [json.loads(e.removeprefix("data: ")) for e in events[:-1]] == list(CHUNKS)


def test_report_mode_still_finds_faults() -> None:
    guarded = GuardedAnswer(Guard("report").before([RED_FLAG]), chat=True)
    _events(guarded, _packets(_chunk(content="You do not need to see a doctor.", finish="stop")))
    assert guarded.faults == ["discourages_care"]


def test_tool_calls_and_usage_pass_as_they_are() -> None:
    call = _chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{}"}}])
    usage = {"id": "x", "choices": [], "usage": {"completion_tokens": 3}}
    chunks = (_chunk(role="assistant"), call, _chunk(finish="tool_calls"), usage)
    events = _events(GuardedAnswer(Guard().before([RED_FLAG]), chat=True), _packets(*chunks))
    assert [json.loads(e.removeprefix("data: ")) for e in events[:-1]] == list(chunks)


def test_comments_keep_the_connection_alive() -> None:
    guarded = GuardedAnswer(Guard().before(["hi"]), chat=True)
    assert _events(guarded, [": keep-alive\n\n"]) == [": keep-alive\n\n"]


def test_whole_answers_say_what_streams_say() -> None:
    guard = Guard().before([RED_FLAG])
    streamed = _texts(_events(GuardedAnswer(guard, chat=True), _packets(*CHUNKS)))
    message = {"role": "assistant", "content": "Your heart"}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
    answer = GuardedAnswer(guard, chat=True).whole(whole)
    assert answer["choices"][0]["message"]["content"] == streamed
    assert answer["medray_safety"]["red_flags"] == ["chest_pain"]


def test_completions_have_texts() -> None:
    guard = Guard().before([RED_FLAG])
    choice = {"index": 0, "text": "Your heart", "finish_reason": "stop", "logprobs": None}
    answer = GuardedAnswer(guard, chat=False).whole({"choices": [dict(choice)]})
    assert answer["choices"][0]["text"].startswith("⚠️")
    packets = _packets({"id": "x", "choices": [dict(choice)]})
    events = _events(GuardedAnswer(guard, chat=False), packets)
    texts = [json.loads(e.removeprefix("data: "))["choices"][0]["text"] for e in events[:-1]]
    assert "".join(texts) == answer["choices"][0]["text"]


def test_advice_alone() -> None:
    guarded = GuardedAnswer(Guard(emergency="only").before([RED_FLAG]), chat=True)
    answer = guarded.alone("id", 0, "m", 2)
    assert [c["message"]["content"] for c in answer["choices"]] == [
        answer["choices"][0]["message"]["content"]
    ] * 2
    *chunks, done = guarded.alone_events(answer)
    assert done == "data: [DONE]\n\n"
    assert _texts(chunks) == answer["choices"][0]["message"]["content"]
