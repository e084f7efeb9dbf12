"""What medray reads in, and refuses of, the body of a completion request."""

from __future__ import annotations

from typing import Any

from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
)
from ray.llm._internal.serve.core.ingress.utils import _sanitize_chat_completion_request
from typing_extensions import TypeIs

from medray.config.serve import LimitsConfig
from medray.medical.safety.advice import without_additions
from medray.serve.errors import ApiError

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


def bounded(body: Body, limits: LimitsConfig) -> None:
    """Refuse what is above the limits.

    Raises:
        ApiError: 400, naming the parameter.
    """
    if num_choices(body) > limits.max_choices:
        raise ApiError(
            400, f"n must be at most {limits.max_choices}", code="invalid_value", param="n"
        )
    names = ("max_completion_tokens", "max_tokens")
    given = [(n, v) for n in names if (v := getattr(body, n, None)) is not None]
    for name, value in given:
        if value > limits.max_new_tokens:
            raise ApiError(
                400,
                f"{name} must be at most {limits.max_new_tokens}",
                code="invalid_value",
                param=name,
            )


def num_choices(body: Body) -> int:
    """Answers asked for."""
    return int(body.n or 1)


def adds_text(body: Body) -> bool:
    """False where words of ours would break what the client parses: JSON, a grammar, an echoed prompt."""
    if getattr(body, "echo", False):
        return False
    form: Any = getattr(body, "response_format", None)
    if form is not None and getattr(form, "type", "text") != "text":
        return False
    return getattr(body, "structured_outputs", None) is None


def user_turns(body: Body) -> list[str]:
    """Texts of the user's turns, oldest first; token ids are not read."""
    if not _is_chat(body):
        prompt = body.prompt
        texts = [prompt] if isinstance(prompt, str) else (prompt or [])
        return [text for text in texts if isinstance(text, str)][-1:]
    turns: list[str] = []
    for message in _sanitize_chat_completion_request(body).messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role == "user" and (text := _text(message.get("content"))):  # type: ignore[union-attr]
            turns.append(text)
    return turns


def _is_chat(body: Body) -> TypeIs[ChatCompletionRequest]:
    return isinstance(body, ChatCompletionRequest)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content or ()
    return "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))
