"""What medray reads in the body of a completion request, in the form that the engine is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
)
from ray.llm._internal.serve.core.ingress.utils import _sanitize_chat_completion_request
from typing_extensions import TypeIs

from medray.medical.safety.advice import without_additions

Decode = Callable[[Sequence[int]], str]
SAID_IN = ("text", "input_text", "content", "output", "refusal", "thinking")
"""Fields of a message's parts that hold words, whatever type the part says it has."""
Body = ChatCompletionRequest | CompletionRequest
"""What ray.serve.llm's own ingress parses bodies into; its public classes of these names derive from them."""


def picklable(body: Body) -> Body:
    """The body without pydantic's lazy iterators, which cannot travel to another process."""
    return _sanitize_chat_completion_request(body) if _is_chat(body) else body


def forget_additions(body: Body) -> None:
    """Take what the safety hook once added out of the conversation's earlier answers."""
    for message in body.messages if _is_chat(body) else ():
        if isinstance(message, dict) and message.get("role") == "assistant":
            content = message.get("content")
            if isinstance(content, str):
                message["content"] = without_additions(content)  # type: ignore[typeddict-item]


def num_choices(body: Body) -> int:
    """Number of answers a request asks for (`n`, default 1)."""
    return int(body.n or 1)


def adds_text(body: Body) -> bool:
    """False where words of ours would break what the client parses: JSON, a grammar, an echoed prompt."""
    if getattr(body, "echo", False):
        return False
    form: Any = getattr(body, "response_format", None)
    if form is not None and getattr(form, "type", "text") != "text":
        return False
    return getattr(body, "structured_outputs", None) is None


def conversations(body: Body, decode: Decode) -> list[list[str]]:
    """What was said to the model, for each prompt of the request by itself, turn by turn, oldest first.

    A turn is all that stands between two answers, whoever says it: users, developers, tools. System messages are the
    operator's, and count where nothing else does. `decode` gives the text of token ids.
    """
    if not _is_chat(body):
        return [[text] if text else [] for text in _prompts(body.prompt, decode)]
    turns: list[list[str]] = [[]]
    system: list[str] = []
    for message in _sanitize_chat_completion_request(body).messages:
        said: Any = message if isinstance(message, dict) else message.model_dump()
        role = str(said.get("role") or "").strip().casefold()
        text = _text(said.get("content"))
        if role == "assistant":
            turns.append([])
        elif text:
            (system if role == "system" else turns[-1]).append(text)
    told = ["\n\n".join(turn) for turn in turns if turn]
    return [told or system]


def _prompts(prompt: Any, decode: Decode) -> list[str]:
    """The texts of a completion's prompts: one or several, as text or as token ids."""
    if not prompt:
        return [""]
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [decode(prompt)]
    return [each if isinstance(each, str) else decode(each) for each in prompt]


def _is_chat(body: Body) -> TypeIs[ChatCompletionRequest]:
    return isinstance(body, ChatCompletionRequest)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return "\n".join(filter(None, (_text(content.get(key)) for key in SAID_IN)))
    if isinstance(content, Iterable):
        return "\n".join(filter(None, map(_text, content)))
    return ""
