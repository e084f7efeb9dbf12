"""What of a request's body the safety rules hear: all that is rendered, whoever says it, each prompt by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from medray.config.serve import LimitsConfig
from medray.medical.safety.guard import Guard
from medray.serve.protocol.bodies import ChatBody, CompletionBody
from medray.serve.protocol.parsing import parse
from medray.serve.requests import conversations, engine_request

SAID = "I can't breathe"


def _decode(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def _chat(*messages: dict[str, Any]) -> list[list[str]]:
    return conversations(_body(*messages), _decode)


def _body(*messages: dict[str, Any]) -> ChatBody:
    return parse(ChatBody, {"model": "m", "messages": list(messages)}, LimitsConfig())


def _completion(prompt: Any) -> CompletionBody:
    return parse(CompletionBody, {"model": "m", "prompt": prompt}, LimitsConfig())


@pytest.mark.parametrize("role", ["user", "USER", "User", " user ", "developer", "tool"])
def test_every_role_but_the_assistants_is_heard(role: str) -> None:
    message = {"role": role, "content": SAID} | ({"tool_call_id": "1"} if role == "tool" else {})
    assert _chat({"role": "user", "content": "hello"}, message) == [["hello\n\n" + SAID]]


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": SAID}],
        [{"type": "text", "text": "look"}, {"type": "text", "text": SAID}],
        SAID,
    ],
)
def test_every_part_of_a_message_is_heard(content: Any) -> None:
    assert SAID in _chat({"role": "user", "content": content})[0][0]


def test_answers_part_turns_and_are_not_heard() -> None:
    turns = _chat(
        {"role": "system", "content": "If somebody can't breathe, help."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": SAID},
        {"role": "user", "content": "thanks"},
    )
    assert turns == [["hello", "thanks"]]


def test_a_system_message_counts_where_nothing_else_does() -> None:
    assert _chat({"role": "system", "content": SAID}) == [[SAID]]


@pytest.mark.parametrize(
    ("prompt", "heard"),
    [
        (SAID, [[SAID]]),
        ([SAID, "hello"], [[SAID], ["hello"]]),
        ([ord(c) for c in SAID], [[SAID]]),
        ([[ord(c) for c in SAID], [ord("x")]], [[SAID], ["x"]]),
    ],
)
def test_each_prompt_is_heard_by_itself(prompt: Any, heard: list[list[str]]) -> None:
    assert conversations(_completion(prompt), _decode) == heard


def test_a_prompt_before_the_last_brings_advice_to_its_own_answer() -> None:
    body = _completion([SAID, "How is asthma treated?"])
    flags = [Guard().before(turns).red_flags for turns in conversations(body, _decode)]
    assert [bool(each) for each in flags] == [True, False]


def test_the_engine_reads_earlier_answers_without_what_the_hook_added() -> None:
    verdict = Guard().before([SAID])
    sent = f"{verdict.prefix}Sit upright."
    for content in (sent, [{"type": "text", "text": sent}]):
        asked = engine_request(
            _body(
                {"role": "user", "content": SAID},
                {"role": "assistant", "content": content},
                {"role": "user", "content": "thanks"},
            )
        )
        assert verdict.prefix
        assert asked.messages[1]["content"] == "Sit upright."  # type: ignore[union-attr]
