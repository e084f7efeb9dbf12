"""The body of `/v1/responses`, and the chat that it stands for: nothing is stored between requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from medray.serve.protocol.bodies import MAX_TOOLS
from medray.serve.protocol.constraints import Constraint
from medray.serve.protocol.fields import (
    Body,
    Finite,
    FunctionName,
    Metadata,
    Name,
    Part,
    WithoutNulls,
)
from medray.serve.protocol.messages import Arguments, CallId

MAX_PARTS = 1024
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class InputText(Part):
    """A piece of what was said, by the client's side or by an earlier answer."""

    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    logprobs: Annotated[list[Any], Field(max_length=0)] | None = None


def _as_parts(content: Any) -> Any:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content


class InputMessage(Part):
    """A message; an answer's own item is sent back as it came."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        list[InputText],
        Field(min_length=1, max_length=MAX_PARTS, fail_fast=True),
        BeforeValidator(_as_parts),
    ]
    id: CallId | None = None
    status: ItemStatus | None = None


class InputCall(Part):
    """A call that an earlier answer made."""

    type: Literal["function_call"]
    call_id: CallId
    name: FunctionName
    arguments: Arguments
    id: CallId | None = None
    status: ItemStatus | None = None


class InputResult(Part):
    """What a call of a function returned."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: str
    id: CallId | None = None
    status: ItemStatus | None = None


class InputReasoning(Part):
    """The thoughts of an earlier answer, which models do not read again."""

    type: Literal["reasoning"]
    id: CallId | None = None
    summary: list[Any] | None = None
    content: list[Any] | None = None
    encrypted_content: None = None
    status: ItemStatus | None = None


def _kind(item: Any) -> str | None:
    kind = item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)
    return kind if kind in KINDS else None


KINDS = ("message", "function_call", "function_call_output", "reasoning")
InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputResult, Tag("function_call_output")]
    | Annotated[InputReasoning, Tag("reasoning")],
    Discriminator(
        _kind,
        custom_error_type="type",
        custom_error_message=f"must be an object whose type is one of {', '.join(KINDS)}",
    ),
    WithoutNulls,
]


def _as_items(given: Any) -> Any:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


class ResponseTool(Part):
    """A function the model may call; tools that a service would run itself there are none of."""

    type: Literal["function"]
    name: FunctionName
    description: Annotated[str, Field(max_length=16_384)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedResponseTool(Part):
    """The tool that must be called."""

    type: Literal["function"]
    name: FunctionName


class TextForm(Part):
    """The form of the answer's text."""

    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    description: Annotated[str, Field(max_length=4096)] | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _schema_with_its_type(self) -> Self:
        if (self.type == "json_schema") != (self.schema_ is not None and self.name is not None):
            raise ValueError("name and schema must be given with type json_schema, and only then")
        return self


class TextSettings(Part):
    """Settings of the answer's text."""

    format: Annotated[TextForm, WithoutNulls] | None = None
    verbosity: Literal["medium"] | None = None


class Reasoning(Part):
    """How much the model thinks."""

    effort: Literal["none", "minimal", "low", "medium", "high"] | None = None


class ResponsesBody(Body):
    """The body of `/v1/responses`. What would need stored responses is refused by name, as any unknown field."""

    model: Name | None = None
    input: Annotated[
        list[InputItem], Field(min_length=1, fail_fast=True), BeforeValidator(_as_items)
    ]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[Finite, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Finite, Field(gt=0, le=1)] | None = None
    stream: bool = False
    text: Annotated[TextSettings, WithoutNulls] | None = None
    tools: (
        Annotated[list[ResponseTool], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]
        | None
    ) = None
    tool_choice: Literal["none", "auto", "required"] | NamedResponseTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Annotated[Reasoning, WithoutNulls] | None = None

    store: Literal[False] | None = None
    background: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None
    include: Annotated[list[Any], Field(max_length=0)] | None = None
    user: Name | None = None
    safety_identifier: Name | None = None
    prompt_cache_key: Name | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "default"] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(isinstance(item, InputReasoning) for item in self.input):
            raise ValueError("input: needs a message")
        return self

    @property
    def form(self) -> TextForm:
        """The form of the answer's text."""
        return (self.text and self.text.format) or TextForm(type="text")

    @property
    def may_call(self) -> bool:
        """Whether the answer may be a call of a tool."""
        return bool(self.tools) and self.tool_choice != "none"

    def constraints(self) -> list[Constraint]:
        """Schemas that have to be compiled."""
        tools = [
            Constraint("json", tool.parameters, f"tools.{i}.parameters")
            for i, tool in enumerate(self.tools or ())
            if tool.parameters is not None
        ]
        if self.form.schema_ is None:
            return tools
        return [
            Constraint("json", self.form.schema_, ".".join(("text", "format", "schema"))),
            *tools,
        ]

    def chat(self) -> dict[str, Any]:
        """The same request as the body of a chat, still to be checked as one."""
        chat: dict[str, Any] = {"model": self.model, "messages": self._messages()}
        chat |= {"max_tokens": self.max_output_tokens, "stream": self.stream}
        if self.stream:
            chat["stream_options"] = {"include_usage": True}
        for name in ("temperature", "top_p", "parallel_tool_calls"):
            chat[name] = getattr(self, name)
        if self.reasoning is not None:
            chat["reasoning_effort"] = self.reasoning.effort
        if self.form.type != "text":
            chat["response_format"] = _chat_form(self.form)
        if self.tools:
            chat["tools"] = [
                {
                    "type": "function",
                    "function": tool.model_dump(exclude={"type"}, exclude_none=True),
                }
                for tool in self.tools
            ]
        chat["tool_choice"] = self.tool_choice
        if isinstance(self.tool_choice, NamedResponseTool):
            chat["tool_choice"] = {"type": "function", "function": {"name": self.tool_choice.name}}
        return chat

    def _messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        if self.instructions:
            messages.append({"role": "system", "content": self.instructions})
        for item in self.input:
            if isinstance(item, InputMessage):
                parts = [{"type": "text", "text": part.text} for part in item.content]
                messages.append({"role": item.role, "content": parts})
            elif isinstance(item, InputResult):
                messages.append(
                    {"role": "tool", "tool_call_id": item.call_id, "content": item.output}
                )
            elif isinstance(item, InputCall):
                if not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant"})
                function = {"name": item.name, "arguments": item.arguments}
                call = {"id": item.call_id, "type": "function", "function": function}
                messages[-1].setdefault("tool_calls", []).append(call)
        return messages


def _chat_form(form: TextForm) -> dict[str, Any]:
    if form.type != "json_schema":
        return {"type": form.type}
    schema = form.model_dump(exclude={"type"}, exclude_none=True, by_alias=True)
    return {"type": form.type, "json_schema": schema}
