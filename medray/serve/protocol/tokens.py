"""The bodies of `/tokenize` and `/detokenize`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from medray.serve.protocol.bodies import TemplateSettings, Tools
from medray.serve.protocol.fields import Body, Name, TokenId
from medray.serve.protocol.messages import Messages


class TokenizeBody(Body):
    """A text, or a conversation that the model's chat template renders, to be split into tokens."""

    model: Name | None = None
    prompt: str | None = None
    messages: Messages | None = None
    tools: Tools | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    return_token_strs: bool = False
    chat_template_kwargs: TemplateSettings | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("prompt: exactly one of prompt and messages must be set")
        for name in ("tools", "chat_template_kwargs"):
            if self.messages is None and getattr(self, name) is not None:
                raise ValueError(f"{name}: needs messages")
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError("continue_final_message: needs add_generation_prompt=false")
        return self


class DetokenizeBody(Body):
    """Token ids whose text is asked for."""

    model: Name | None = None
    tokens: Annotated[list[TokenId], Field(fail_fast=True)]
