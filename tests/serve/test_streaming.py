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


def _loaded(events: list[str]) -> list[dict[str, Any]]:
    return [json.loads(e.removeprefix("data: ")) for e in events if "[DONE]" not in e]


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
    events = _events(GuardedAnswer([Guard().before([RED_FLAG])], chat=True), _packets(*CHUNKS))
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
    guarded = GuardedAnswer([Guard().before(["hello"])], chat=True)
    assert _texts(_events(guarded, packets)).startswith("Your heart\n\n")


def test_each_choice_gets_its_own() -> None:
    chunks = [_chunk(i, content=f"answer {i}", finish="stop") for i in (1, 0)]
    events = _events(GuardedAnswer([Guard().before([RED_FLAG])], chat=True), _packets(*chunks))
    for index in (0, 1):
        assert _texts(events, index).count("emergency number") == 1
        assert _texts(events, index).count("not a diagnosis") == 1
        assert f"answer {index}" in _texts(events, index)


@pytest.mark.parametrize("mode", ["off", "report"])
def test_nothing_changes_where_nothing_may(mode: Any) -> None:
    guarded = GuardedAnswer([Guard(mode).before([RED_FLAG])], chat=True)
    assert _loaded(_events(guarded, _packets(*CHUNKS))) == list(CHUNKS)


def test_bound_answers_keep_their_words_and_carry_the_advice_in_its_own_field() -> None:
    guarded = GuardedAnswer([Guard().before([RED_FLAG])], chat=True, plain_text=False)
    chunks = _loaded(_events(guarded, _packets(*CHUNKS)))
    marks = [chunk.pop("medray_safety") for chunk in chunks if "medray_safety" in chunk]
    assert chunks == list(CHUNKS)
    assert [mark["red_flags"] for mark in marks] == [["chest_pain"]]
    assert "emergency number" in marks[0]["advice"]
    whole = {"choices": [{"index": 0, "message": {"content": "{}"}, "finish_reason": "stop"}]}
    guarded = GuardedAnswer([Guard().before([RED_FLAG])], chat=True, plain_text=False)
    answer = guarded.whole(whole)
    assert answer["choices"][0]["message"]["content"] == "{}"
    assert "emergency number" in answer["medray_safety"]["advice"]


def test_report_mode_still_finds_faults() -> None:
    guarded = GuardedAnswer([Guard("report").before([RED_FLAG])], chat=True)
    _events(guarded, _packets(_chunk(content="You do not need to see a doctor.", finish="stop")))
    assert guarded.faults == ["discourages_care"]


CALL = {"index": 0, "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "first",
    [
        _chunk(tool_calls=[CALL]),
        _chunk(reasoning_content="Let me think"),
        _chunk(reasoning="Let me think"),
        _chunk(function_call={"name": "f"}),
        _chunk(refusal="No."),
        _chunk(content="Hello"),
        _chunk(finish="stop"),
        _chunk(finish="length"),
    ],
)
def test_advice_comes_before_the_first_delta_of_any_kind(first: dict[str, Any]) -> None:
    chunks = [_chunk(role="assistant", content=""), first]
    if first["choices"][0]["finish_reason"] is None:
        chunks.append(_chunk(finish="tool_calls"))
    guarded = GuardedAnswer([Guard().before([RED_FLAG])], chat=True)
    events = _loaded(_events(guarded, _packets(*chunks)))
    said = [c["choices"][0]["delta"].get("content") or "" for c in events]
    assert "emergency number" in said[1]
    assert events[1]["medray_safety"]["red_flags"] == ["chest_pain"]
    assert [e for e in events if "medray_safety" in e] == [events[1]]
    kept = [e for e in events if e["choices"][0]["delta"] == first["choices"][0]["delta"]]
    assert kept or said[2] == "Hello"


def test_an_answer_that_never_began_still_brings_the_advice() -> None:
    usage = {"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": {"n": 1}}
    guarded = GuardedAnswer([Guard().before([RED_FLAG])], chat=True)
    events = _events(guarded, _packets(usage))
    assert _texts(events).count("emergency number") == 1
    assert events[-1] == "data: [DONE]\n\n"
    assert "usage" not in json.loads(events[-2].removeprefix("data: "))


def test_tool_calls_without_a_red_flag_pass_as_they_are() -> None:
    usage = {"id": "x", "choices": [], "usage": {"completion_tokens": 3}}
    chunks = (
        _chunk(role="assistant"),
        _chunk(tool_calls=[CALL]),
        _chunk(finish="tool_calls"),
        usage,
    )
    events = _events(GuardedAnswer([Guard().before(["hello"])], chat=True), _packets(*chunks))
    assert _loaded(events) == list(chunks)


def test_a_whole_tool_call_brings_the_advice_as_its_words() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    answer = GuardedAnswer([Guard().before([RED_FLAG])], chat=True).whole(answer)
    assert "emergency number" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["message"]["tool_calls"] == [CALL]


def test_each_prompt_is_judged_by_itself() -> None:
    verdicts = [Guard().before([text]) for text in (RED_FLAG, "hello")]
    choices = [{"index": i, "text": f"answer {i}", "finish_reason": "stop"} for i in range(4)]
    guarded = GuardedAnswer(verdicts, chat=False, choices_each=2)
    answer = guarded.whole({"choices": choices})
    advised = ["emergency number" in choice["text"] for choice in answer["choices"]]
    assert advised == [True, True, False, False]


def test_only_the_flagged_prompt_is_answered_by_the_advice_alone() -> None:
    verdicts = [Guard(emergency="only").before([text]) for text in (RED_FLAG, "hello")]
    choices = [{"index": i, "text": f"answer {i}", "finish_reason": "stop"} for i in range(2)]
    packets = _packets({"id": "x", "choices": choices})
    events = _loaded(_events(GuardedAnswer(verdicts, chat=False), packets))
    texts = dict.fromkeys(range(2), "")
    for choice in (c for e in events for c in e["choices"]):
        texts[choice["index"]] += choice["text"]
    assert "answer 0" not in texts[0]
    assert "emergency number" in texts[0]
    assert texts[1].startswith("answer 1")


def test_a_correction_is_claimed_where_it_is_sent_and_nowhere_else() -> None:
    guarded = GuardedAnswer([Guard().before([RED_FLAG])], chat=True)
    chunks = (_chunk(content="You dont need to see a doctor."), _chunk(finish="stop"))
    events = _loaded(_events(guarded, _packets(*chunks)))
    marks = [(e["medray_safety"], e["choices"][0]["delta"]) for e in events if "medray_safety" in e]
    assert [mark["answer_faults"] for mark, _ in marks] == [[], ["discourages_care"]]
    assert [mark["red_flags"] for mark, _ in marks] == [["chest_pain"], []]
    assert "Correction" in marks[1][1]["content"]


def test_comments_keep_the_connection_alive() -> None:
    guarded = GuardedAnswer([Guard().before(["hi"])], chat=True)
    assert _events(guarded, [": keep-alive\n\n"]) == [": keep-alive\n\n"]


def test_whole_answers_say_what_streams_say() -> None:
    guard = Guard().before([RED_FLAG])
    streamed = _texts(_events(GuardedAnswer([guard], chat=True), _packets(*CHUNKS)))
    message = {"role": "assistant", "content": "Your heart"}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
    answer = GuardedAnswer([guard], chat=True).whole(whole)
    assert answer["choices"][0]["message"]["content"] == streamed
    assert answer["medray_safety"]["red_flags"] == ["chest_pain"]


def test_completions_have_texts() -> None:
    guard = Guard().before([RED_FLAG])
    choice = {"index": 0, "text": "Your heart", "finish_reason": "stop", "logprobs": None}
    answer = GuardedAnswer([guard], chat=False).whole({"choices": [dict(choice)]})
    assert answer["choices"][0]["text"].startswith("⚠️")
    packets = _packets({"id": "x", "choices": [dict(choice)]})
    events = _events(GuardedAnswer([guard], chat=False), packets)
    texts = [json.loads(e.removeprefix("data: "))["choices"][0]["text"] for e in events[:-1]]
    assert "".join(texts) == answer["choices"][0]["text"]


def test_advice_alone() -> None:
    guarded = GuardedAnswer([Guard(emergency="only").before([RED_FLAG])], chat=True, choices_each=2)
    answer = guarded.alone("id", 0, "m")
    assert [c["message"]["content"] for c in answer["choices"]] == [
        answer["choices"][0]["message"]["content"]
    ] * 2
    *chunks, done = guarded.alone_events(answer)
    assert done == "data: [DONE]\n\n"
    assert _texts(chunks) == answer["choices"][0]["message"]["content"]
