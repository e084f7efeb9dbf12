"""Streaming answers into a chat history, as the page shows it; no Gradio in here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from medray.medical.safety.advice import without_additions
from medray.medical.safety.language import Language
from medray.serve.web.texts import TEXTS, Texts

History = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sampling:
    """Values of the page's sampling controls."""

    model: str
    system: str | None
    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Shown:
    """The page at one moment: the history with the answer so far, and a notice above it.

    `unanswered` is a question that got no answer, to be put back where it was typed.
    """

    history: History
    notice: str
    unanswered: str | None = None


def open_question(history: History) -> str | None:
    """The text of a last turn that waits for its answer."""
    if history and history[-1]["role"] == "user":
        return text_of(history[-1])
    return None


def without_last_answer(history: History) -> History:
    """The history up to the last question, for another answer; empty where there is none."""
    kept = list(history)
    while kept and kept[-1]["role"] != "user":
        kept.pop()
    return kept


def without_last_turn(history: History) -> tuple[History, str]:
    """The history without its last question and answer, and that question."""
    kept = without_last_answer(history)
    return kept[:-1], text_of(kept[-1]) if kept else ""


def text_of(message: dict[str, Any]) -> str:
    """The text of a message; the page may hold it in parts."""
    content = message["content"]
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in parts)


def request_messages(history: History, system: str | None) -> list[dict[str, str]]:
    """What the model is sent: roles and texts alone."""
    head = [{"role": "system", "content": system}] if (system or "").strip() else []
    return [*head, *({"role": m["role"], "content": text_of(m)} for m in history)]


def as_written(history: History, system: str | None = None) -> list[dict[str, str]]:
    """The conversation as the model wrote its part: what the safety rules added is nothing to train on."""
    return [
        {**m, "content": without_additions(m["content"])} if m["role"] == "assistant" else m
        for m in request_messages(history, system)
    ]


async def answer(
    client: Any, history: History, sampling: Sampling, language: Language
) -> AsyncIterator[Shown]:
    """Stream the answer to the last question of `history`; a failure becomes a notice, and no half turn stays.

    `client` is an `openai.AsyncOpenAI`.
    """
    import httpx
    import openai

    texts = TEXTS[language]
    pieces: list[str] = []
    notices: list[str] = []
    try:
        stream = await _asked(client, history, sampling, texts, notices)
        async with stream:
            async for chunk in stream:
                notices += [n for n in _safety_notices(chunk, texts) if n not in notices]
                if not chunk.choices:
                    continue
                if piece := chunk.choices[0].delta.content:
                    pieces.append(piece)
                    yield Shown(_with(history, pieces), "\n\n".join(notices))
                if chunk.choices[0].finish_reason == "length":
                    notices.append(texts.cut)
                    yield Shown(_with(history, pieces), "\n\n".join(notices))
    except (openai.OpenAIError, httpx.HTTPError) as error:
        body = getattr(error, "body", None)
        said = body.get("message") if isinstance(body, dict) else None
        failed = f"{texts.failed}: {said or error}"
        if pieces:
            yield Shown(_with(history, pieces), failed)
        else:
            yield Shown(history[:-1], failed, open_question(history))


async def _asked(
    client: Any, history: History, sampling: Sampling, texts: Texts, notices: list[str]
) -> Any:
    """The stream of the answer; where the context is full, the oldest turns are left out."""
    import openai

    sent = list(history)
    while True:
        try:
            return await client.chat.completions.create(
                model=sampling.model,
                messages=request_messages(sent, sampling.system),
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                stream=True,
            )
        except openai.BadRequestError as error:
            if "context length" not in str(error) or len(sent) < 3:
                raise
            sent = sent[2:]
            notices[:] = [texts.shortened]


def _with(history: History, pieces: list[str]) -> History:
    return [*history, {"role": "assistant", "content": "".join(pieces)}]


def _safety_notices(chunk: Any, texts: Texts) -> list[str]:
    """What the safety hook says of the answer, for the lines above it."""
    found = (chunk.model_extra or {}).get("medray_safety") or {}
    lines = [texts.warned] if found.get("red_flags") else []
    return lines + ([texts.corrected] if found.get("answer_faults") else [])
