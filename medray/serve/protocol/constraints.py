"""Forms that an answer is bound to: JSON, a schema, a regular expression, a grammar, a choice."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from medray.serve.protocol.fields import Part

MAX_PATTERN = 4096
MAX_GRAMMAR = 16_384
MAX_CHOICES = 1024


class Constraint(NamedTuple):
    """A schema, a regular expression or a grammar that an answer must follow, and the field that brought it."""

    kind: Literal["json", "regex", "grammar"]
    value: Any
    param: str


class JsonSchema(Part):
    """A named JSON schema the answer must follow."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: Annotated[str, Field(max_length=4096)] | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(Part):
    """The form as the OpenAI API names it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _schema_with_its_type(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema: must be given with type json_schema, and only then")
        return self

    def constraints(self) -> list[Constraint]:
        """Return the schemas and grammars to compile before decoding."""
        if self.json_schema is None:
            return []
        return [Constraint("json", self.json_schema.schema_, "response_format.json_schema.schema")]


class StructuredOutputs(Part):
    """The form as vLLM names it: exactly one of these."""

    json_: Annotated[dict[str, Any] | None, Field(alias="json")] = None
    json_object: Literal[True] | None = None
    regex: Annotated[str, Field(min_length=1, max_length=MAX_PATTERN)] | None = None
    choice: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=512)]],
            Field(min_length=1, max_length=MAX_CHOICES),
        ]
        | None
    ) = None
    grammar: Annotated[str, Field(min_length=1, max_length=MAX_GRAMMAR)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("exactly one of json, json_object, regex, choice, grammar must be set")
        return self

    def constraints(self) -> list[Constraint]:
        """Return the schemas and grammars to compile before decoding."""
        prefix = "structured_outputs."
        found: list[Constraint] = []
        if self.json_ is not None:
            found.append(Constraint("json", self.json_, f"{prefix}json"))
        if self.regex is not None:
            found.append(Constraint("regex", self.regex, f"{prefix}regex"))
        if self.grammar is not None:
            found.append(Constraint("grammar", self.grammar, f"{prefix}grammar"))
        return found
