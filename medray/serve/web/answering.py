"""Streaming answers into a chat history, as the page shows it; no Gradio in here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from medray.medical.safety.language import Language
from medray.serve.web.texts import TEXTS

History = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the controls say."""

    model: str
    system: str | None
    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Shown:
    """The page at one moment: the history with the answer so far, and a notice above it."""

    history: History
    notice: str


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


async def answer(
    client: Any, history: History, sampling: Sampling, language: Language
) -> AsyncIterator[Shown]:
    """Stream the answer to the last question of `history`; a failure becomes a notice, and no half turn stays.

    `client` is an `openai.AsyncOpenAI`.
    """
    import openai

    texts = TEXTS[language]
    pieces: list[str] = []
    notice = ""
    try:
        stream = await client.chat.completions.create(
            model=sampling.model,
            messages=request_messages(history, sampling.system),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stream=True,
        )
        async with stream:
            async for chunk in stream:
                notice = _notice(chunk, language) or notice
                if chunk.choices and (piece := chunk.choices[0].delta.content):
                    pieces.append(piece)
                    yield Shown(_with(history, pieces), notice)
    except openai.OpenAIError as error:
        body = getattr(error, "body", None)
        said = body.get("message") if isinstance(body, dict) else None
        failed = f"{texts.failed}: {said or error}"
        yield Shown(_with(history, pieces) if pieces else history[:-1], failed)


def _with(history: History, pieces: list[str]) -> History:
    return [*history, {"role": "assistant", "content": "".join(pieces)}]


def _notice(chunk: Any, language: Language) -> str:
    """What the safety hook says of the answer, for the line above it."""
    found = (chunk.model_extra or {}).get("medray_safety") or {}
    texts = TEXTS[language]
    lines = [texts.warned] if found.get("red_flags") else []
    lines += [texts.corrected] if found.get("answer_faults") else []
    return "\n\n".join(lines)
