"""What the page shows while an answer comes, without a page."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any

import pytest
from openai import AsyncOpenAI

from medray.medical.safety.language import LANGUAGES, Language
from medray.serve.web.answering import (
    Sampling,
    Shown,
    answer,
    open_question,
    request_messages,
    text_of,
    without_last_answer,
    without_last_turn,
)
from medray.serve.web.texts import TEXTS
from tests.support.scripted_api import NUM_WORDS, ScriptedApi, served

SAMPLING = Sampling("tiny", None, 0.5, 0.9, 64)
USER = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
ASSISTANT = {"role": "assistant", "content": "hi"}


def _shown(
    question: str, language: Language = "en", sampling: Sampling = SAMPLING
) -> tuple[list[Shown], ScriptedApi]:
    api = ScriptedApi()

    async def collect(url: str) -> list[Shown]:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
        history = [USER, ASSISTANT, {"role": "user", "content": question}]
        return [moment async for moment in answer(client, history, sampling, language)]

    with served(api.app) as url:
        return asyncio.run(collect(url)), api


def test_the_answer_grows_word_by_word() -> None:
    moments, api = _shown("why?", sampling=Sampling("tiny", "Be brief.", 0.5, 0.9, 64))
    lengths = [len(text_of(m.history[-1])) for m in moments]
    assert lengths == sorted(set(lengths))
    assert len(lengths) == NUM_WORDS + 1
    body = api.bodies[0]
    assert [m["content"] for m in body["messages"]] == ["Be brief.", "hello", "hi", "why?"]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.5, 0.9, 64)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_safety_hook_shows_in_the_users_language(language: Language) -> None:
    moments, _ = _shown("chest pain", language)
    assert {m.notice for m in moments} == {TEXTS[language].warned}
    assert _shown("hello", language)[0][-1].notice == ""


def test_a_failure_is_a_notice_and_leaves_no_half_turn() -> None:
    moments, _ = _shown("busy")
    assert moments[-1].notice == "No answer: every replica is busy"
    assert moments[-1].history == [USER, ASSISTANT]
    assert moments[-1].unanswered == "busy"


def test_a_full_context_loses_its_oldest_turns() -> None:
    moments, api = _shown("long")
    assert [len(body["messages"]) for body in api.bodies] == [3, 1]
    assert moments[-1].notice == TEXTS["en"].shortened
    assert len(moments[-1].history) == 4, "what is left out is still shown"


def test_turns_are_taken_back() -> None:
    history: list[dict[str, Any]] = [USER, ASSISTANT]
    assert open_question(history) is None
    assert without_last_answer(history) == [USER]
    assert open_question(without_last_answer(history)) == "hello"
    assert without_last_turn(history) == ([], "hello")
    assert without_last_turn([]) == ([], "")
    assert request_messages(history, "  ") == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
    ]


def test_every_word_is_there_in_both_languages() -> None:
    for language in LANGUAGES:
        assert all(getattr(TEXTS[language], field.name) for field in fields(TEXTS[language]))
