"""From a request to a body that the engine can be asked: checked by its fields, by its model, by its grammars."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request

from medray.config.serve import LimitsConfig
from medray.serve.errors import ApiError
from medray.serve.prompts import num_tokens
from medray.serve.protocol.bodies import ChatBody, CompletionBody
from medray.serve.protocol.grammars import GrammarChecks
from medray.serve.protocol.json_body import read_json
from medray.serve.protocol.parsing import parse
from medray.serve.protocol.responses import ResponsesBody
from medray.serve.protocol.tokens import DetokenizeBody, TokenizeBody

ReadT = TypeVar(
    "ReadT", bound=ChatBody | CompletionBody | ResponsesBody | TokenizeBody | DetokenizeBody
)


@dataclass(frozen=True)
class ServedModels:
    """What is known of the served models by name."""

    names: Collection[str]
    adapters: Mapping[str, str]
    """The base of each adapter."""
    tokenizers: Mapping[str, tuple[str, bool]]
    """The folder of each base, and whether its code may run."""
    calling: Collection[str]
    """Those that can call tools."""

    def named(self, model: str | None, bases: Collection[str]) -> str:
        """The model that a request means: the only base, where it names none.

        Raises:
            ApiError: 404, no such model is served.
        """
        if model is None and len(bases) == 1:
            return next(iter(bases))
        if model is None or model not in self.names:
            raise self.unknown(model)
        return model

    def base_of(self, model: str) -> str:
        """The base of an adapter; a base itself."""
        return self.adapters.get(model, model)

    def tokenizer_of(self, model: str) -> tuple[str, bool]:
        """The folder with a model's tokenizer, and whether its code may run."""
        return self.tokenizers[self.base_of(model)]

    def unknown(self, model: str | None) -> ApiError:
        """The error for a request that names no model, or one that is not served."""
        known = ", ".join(self.names)
        asked = "no model is named" if model is None else f"there is no model {model[:100]!r}"
        return ApiError(404, f"{asked}: use one of {known}", code="model_not_found", param="model")


class RequestReader:
    """Reads bodies and refuses what the engine cannot be asked."""

    def __init__(self, limits: LimitsConfig, models: ServedModels) -> None:
        self._limits = limits
        self._models = models
        self._grammars = GrammarChecks()

    async def read(self, kind: type[ReadT], request: Request) -> ReadT:
        """The request's body.

        Raises:
            ApiError: 400, naming the field; 404, for an unknown model.
        """
        raw = read_json(await request.body(), request.headers.get("content-type", ""))
        facts: dict[str, Any] = request.scope["state"]["facts"]
        body = parse(kind, raw, self._limits)
        body.model = facts["model"] = self._models.named(body.model, self._models.tokenizers)
        if isinstance(body, TokenizeBody | DetokenizeBody):
            return body
        facts["stream"] = body.stream
        if not isinstance(body, CompletionBody) and body.may_call:
            self._require_tools(body.model)
        if isinstance(body, CompletionBody) and body.scores_prompts:
            await self._require_scorable(body, body.model)
        source, trusted = self._models.tokenizer_of(body.model)
        await self._grammars.require(body.constraints(), source, trusted=trusted)
        return body

    def _require_tools(self, model: str) -> None:
        if model not in self._models.calling:
            raise ApiError(
                400,
                f"tools: {model} is served without tools: the operator has to set models.N.tool_parser",
                code="invalid_value",
                param="tools",
            )

    async def _require_scorable(self, body: CompletionBody, model: str) -> None:
        """Refuse to score prompts where that would end the engine, for everybody."""
        base = self._models.base_of(model)
        if base in self._models.adapters.values():
            # The LoRA layer of the output head expects the sampled positions alone, and fails on a prompt's.
            raise ApiError(
                400,
                f"echo: cannot be combined with logprobs, because {base} is served with adapters: serve the model, or "
                "one that medray merge made, without adapters",
                code="invalid_value",
                param="echo",
            )
        source, trusted = self._models.tokenizer_of(model)
        measured = functools.partial(num_tokens, source, trust_remote_code=trusted)
        longest = max(await asyncio.to_thread(lambda: [*map(measured, body.prompt)]))
        if longest > self._limits.max_scored_tokens:
            raise ApiError(
                400,
                f"prompt: with echo and logprobs at most {self._limits.max_scored_tokens} tokens, not {longest}: "
                "the operator can raise limits.max_scored_tokens",
                code="invalid_value",
                param="prompt",
            )
