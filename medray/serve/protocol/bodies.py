"""The bodies of chats and completions, and what the engine is sent of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import uuid4

from pydantic import BeforeValidator, Field, model_validator

from medray.serve.protocol.constraints import Constraint
from medray.serve.protocol.fields import MAX_LOGPROBS, FunctionName, Part, TokenId, WithoutNulls
from medray.serve.protocol.messages import Messages
from medray.serve.protocol.sampling import IGNORED, Generation

MAX_TOOLS = 128
MAX_PROMPTS = 128
"""Most prompts of one request."""


class Function(Part):
    """A function the model may call."""

    name: FunctionName
    description: Annotated[str, Field(max_length=16_384)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Part):
    """A tool the model may call."""

    type: Literal["function"]
    function: Annotated[Function, WithoutNulls]


Tools = Annotated[list[Tool], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


class NamedFunction(Part):
    """The name of a function the model may call."""

    name: FunctionName


class NamedTool(Part):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class TemplateSettings(Part):
    """Switches of chat templates: whether the model thinks before it answers."""

    enable_thinking: bool | None = None
    thinking: bool | None = None


class ChatBody(Generation):
    """The body of `/v1/chat/completions`."""

    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    tools: Tools | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    include_reasoning: bool = True
    chat_template_kwargs: TemplateSettings | None = None
    modalities: list[Literal["text"]] | None = None

    @model_validator(mode="after")
    def _chat_goes_together(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs: needs logprobs to be true")
        names = {tool.function.name for tool in self.tools or ()}
        if len(names) < len(self.tools or ()):
            raise ValueError("tools: each needs a name of its own")
        if self.tool_choice not in (None, "none") and not names:
            raise ValueError("tool_choice: needs tools")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in names:
            raise ValueError("tool_choice: names none of the tools")
        form = self.response_format
        bound = self.structured_outputs is not None or (form is not None and form.type != "text")
        if bound and self.tool_choice not in (None, "none", "auto"):
            raise ValueError("tool_choice: required cannot be combined with a response format")
        return self

    @property
    def may_call(self) -> bool:
        """Whether the answer may be a call of a tool."""
        return bool(self.tools) and self.tool_choice != "none"

    def constraints(self) -> list[Constraint]:
        """Schemas and grammars that have to be compiled."""
        tools = [
            Constraint("json", tool.function.parameters, f"tools.{i}.function.parameters")
            for i, tool in enumerate(self.tools or ())
            if tool.function.parameters is not None
        ]
        return [*_forms(self), *tools]


def _one_prompt(value: Any) -> Any:
    """A list of prompts, whichever of the four ways they are written in."""
    if isinstance(value, str) or (
        isinstance(value, list) and value and all(type(v) is int for v in value)
    ):
        return [value]
    return value


Prompt = (
    Annotated[str, Field(min_length=1)]
    | Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
)


class CompletionBody(Generation):
    """The body of `/v1/completions`."""

    prompt: Annotated[
        list[Prompt],
        Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True),
        BeforeValidator(_one_prompt),
    ]
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    add_special_tokens: bool = True

    @model_validator(mode="after")
    def _completion_goes_together(self) -> Self:
        if self.scores_prompts and self.stream:
            raise ValueError("stream: cannot be combined with echo and logprobs")
        if len({type(prompt) for prompt in self.prompt}) > 1:
            raise ValueError("prompt: must be texts or lists of token ids, not both")
        return self

    @property
    def scores_prompts(self) -> bool:
        """Whether the log-probabilities of the prompts' own tokens are asked for."""
        return self.echo and self.logprobs is not None

    def constraints(self) -> list[Constraint]:
        """Schemas and grammars that have to be compiled."""
        return _forms(self)


AnyBody = ChatBody | CompletionBody


def engine_fields(body: AnyBody) -> dict[str, Any]:
    """The fields of `body` that were set, for vLLM's own class; the request's id is ours, as ids must not collide."""
    fields = without_unset(body)
    for name in IGNORED:
        fields.pop(name, None)
    if "prompt" in fields and len(fields["prompt"]) == 1:
        fields["prompt"] = fields["prompt"][0]
    return {**fields, "request_id": uuid4().hex}


def without_unset(body: Part) -> dict[str, Any]:
    """The fields of `body` that were set, its messages as chat templates read them."""
    fields = body.model_dump(exclude_unset=True, exclude_none=True, by_alias=True)
    for message in fields.get("messages", ()):
        _as_rendered(message)
    return fields


def _as_rendered(message: dict[str, Any]) -> None:
    """Leave in a message what chat templates read."""
    for name in ("refusal", "annotations"):
        message.pop(name, None)
    if not message.get("tool_calls"):
        message.pop("tool_calls", None)
    for call in message.get("tool_calls", ()):
        call.pop("index", None)
        call.setdefault("type", "function")
    parts = message.get("content")
    if parts is not None and len(parts) == 1:
        message["content"] = parts[0]["text"]
    elif parts is None and "tool_calls" not in message:
        message["content"] = ""


def _forms(body: Generation) -> list[Constraint]:
    forms = (body.response_format, body.structured_outputs)
    return [each for form in forms if form is not None for each in form.constraints()]
