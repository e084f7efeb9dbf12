"""Messages of a chat."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator

from medray.serve.protocol.fields import FunctionName, Part, WithoutNulls

Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)


class TextPart(Part):
    """A piece of text; models here read nothing else."""

    type: Literal["text"]
    text: str


def _parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


Content = Annotated[
    list[TextPart], Field(min_length=1, max_length=1024, fail_fast=True), BeforeValidator(_parts)
]
"""Text, or its pieces."""


def _is_an_object(text: str) -> str:
    """vLLM takes what is no JSON for no arguments, and stumbles over JSON that is no object."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return "{}"
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object as text")
    return text


Arguments = Annotated[str, AfterValidator(_is_an_object)]
CallId = Annotated[str, Field(min_length=1, max_length=256)]


class FunctionCall(Part):
    """Which function, with which arguments as JSON text."""

    name: FunctionName
    arguments: Arguments


class ToolCall(Part):
    """A call that an earlier answer made."""

    id: CallId
    type: Literal["function"] = "function"
    function: FunctionCall
    index: int | None = None


class Said(Part):
    """A message of the operator, the user or a tool."""

    role: Literal["system", "developer", "user"]
    content: Content
    name: Annotated[str, Field(max_length=64)] | None = None


class ToolResult(Part):
    """The result of a tool call, sent back to the model."""

    role: Literal["tool"]
    content: Content
    tool_call_id: CallId
    name: Annotated[str, Field(max_length=64)] | None = None


class Answer(Part):
    """An earlier answer, as this service sent it or as the client has it."""

    role: Literal["assistant"]
    content: Content | None = None
    name: Annotated[str, Field(max_length=64)] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _empty_is_none(cls, content: Any) -> Any:
        return None if content == [] else content


def _kind(message: Any) -> str | None:
    role = message.get("role") if isinstance(message, dict) else getattr(message, "role", None)
    return role if isinstance(role, str) and role in ROLES else None


def _canonical(message: Any) -> Any:
    """The message with its role in lower case, as some clients do not write it."""
    if isinstance(message, dict) and isinstance(role := message.get("role"), str):
        return {**message, "role": role.strip().casefold()}
    return message


Message = Annotated[
    Annotated[Said, Tag("system")]
    | Annotated[Said, Tag("developer")]
    | Annotated[Said, Tag("user")]
    | Annotated[Answer, Tag("assistant")]
    | Annotated[ToolResult, Tag("tool")],
    Discriminator(
        _kind,
        custom_error_type="role",
        custom_error_message=f"must be an object whose role is one of {', '.join(ROLES)}",
    ),
    WithoutNulls,
    BeforeValidator(_canonical),
]
Messages = Annotated[list[Message], Field(min_length=1, fail_fast=True)]
