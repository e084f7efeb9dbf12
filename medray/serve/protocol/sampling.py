"""Fields that chats and completions share: which model, how it samples, in which form it answers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medray.config.base import MAX_INT
from medray.serve.protocol.constraints import ResponseFormat, StructuredOutputs
from medray.serve.protocol.fields import (
    Body,
    Finite,
    LogitBias,
    Metadata,
    Name,
    Part,
    Penalty,
    Stops,
    TokenId,
)


class StreamOptions(Part):
    """What a stream says beside words."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class Generation(Body):
    """What may be asked of the answers' generation.

    A field of vLLM that is not here is refused: some stop the engine for everybody (prompt_logprobs with an adapter),
    some reach past this request (priority, cache_salt, kv_transfer_params), the rest nobody has tried.
    """

    model: Name | None = None
    n: Annotated[int, Field(ge=1)] = 1
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] = 0
    temperature: Annotated[Finite, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Finite, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[Finite, Field(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[Finite, Field(ge=0.01, le=10)] | None = None
    logit_bias: LogitBias | None = None
    seed: Annotated[int, Field(ge=-MAX_INT - 1, le=MAX_INT)] | None = None
    stop: Stops | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=64)] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    user: Name | None = None
    safety_identifier: Name | None = None
    prompt_cache_key: Name | None = None
    metadata: Metadata | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: can only be set when stream is true")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError("min_tokens: must be at most max_tokens")
        form = self.response_format
        if self.structured_outputs is not None and form is not None and form.type != "text":
            raise ValueError("structured_outputs: cannot be combined with response_format")
        return self


IGNORED = (
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "metadata",
    "store",
    "service_tier",
    "modalities",
)
"""Fields of the OpenAI API that clients send and that change nothing here; the engine does not see them."""
