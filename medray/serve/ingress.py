"""The OpenAI endpoints: find the model, keep the limits, run the safety hook, pass the tokens on."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request
from ray.serve.handle import DeploymentHandle
from ray.serve.llm.ingress import OpenAiIngress
from starlette.responses import JSONResponse, Response, StreamingResponse

from medray.config.serve import LimitsConfig, ServeApp
from medray.medical.safety.guard import Guard, Verdict
from medray.serve.errors import ApiError, as_api_error, failure, timed_out
from medray.serve.loopback import keep_replica_on_loopback
from medray.serve.metrics import SafetyMetrics
from medray.serve.prompts import decoded
from medray.serve.protocol.bodies import AnyBody, ChatBody, CompletionBody
from medray.serve.protocol.grammars import GrammarChecks
from medray.serve.protocol.json_body import read_json
from medray.serve.protocol.parsing import parse
from medray.serve.requests import adds_text, conversations, engine_request
from medray.serve.streaming import GuardedAnswer

keep_replica_on_loopback()  # before Serve opens the replica's port

READY_S = 5.0
BodyT = TypeVar("BodyT", bound=AnyBody)


class ChatIngress(OpenAiIngress):
    """ray.serve.llm's ingress with medray's limits, errors and rules; adapters are models by their own names."""

    def __init__(
        self,
        llm_deployments: dict[str, DeploymentHandle],
        model_cards: dict[str, Any],
        *,
        settings: dict[str, Any],
        adapters: dict[str, str],
        tokenizers: dict[str, tuple[str, bool]],
    ) -> None:
        """`adapters` maps the name of each to its base's; `settings` is a `ServeApp` as JSON values.

        `tokenizers` has the folder of each base, and whether its code may run.
        """
        super().__init__(llm_deployments, model_cards)
        app = ServeApp.model_validate(settings)
        self._limits: LimitsConfig = app.limits
        self._guard = Guard(app.safety.mode, app.safety.emergency, app.safety.disclaimer)
        self._guard.before(["chset pian"])  # reads the tables of words, which takes a second
        self._adapters = adapters
        self._calling = {
            name
            for base, served in zip(model_cards, app.models, strict=True)
            if served.tool_parser is not None
            for name in (base, *(a for a, of in adapters.items() if of == base))
        }
        self._tokenizers = tokenizers
        self._safety = SafetyMetrics()
        self._grammars = GrammarChecks()
        for name, base in adapters.items():
            card = model_cards[base]
            self._model_cards[name] = card.model_copy(
                update={"id": name, "metadata": {**card.metadata, "model_id": name, "base": base}}
            )

    async def health(self) -> dict[str, str]:
        """Answer `GET /health`: this replica's process is alive."""
        return {"status": "ok"}

    async def ready(self) -> Response:
        """Every model has an engine that answers."""
        late: list[str] = []
        for name, handle in self._default_serve_handles.items():
            try:
                await asyncio.wait_for(handle.check_health.remote(), READY_S)
            except Exception:
                late.append(name)
        body = {"status": "not ready" if late else "ready", "waiting_for": late}
        return JSONResponse(body, 503 if late else 200)

    async def model(self, model_id: str) -> Any:
        """The card of a model; None for an unknown one."""
        return self._model_cards.get(model_id)

    async def model_data(self, model: str) -> Any:
        """Answer `GET /v1/models/{model}`; `--` in the name stands for a slash.

        Raises:
            ApiError: 404, no such model is served.
        """
        card = self._model_cards.get(model) or self._model_cards.get(model.replace("--", "/"))
        if card is None:
            raise self._unknown(model)
        return card

    async def _get_model_id(self, model: str | None) -> str:
        if model is None and len(self._default_serve_handles) == 1:
            return next(iter(self._default_serve_handles))
        if model is None or model not in self._model_cards:
            raise self._unknown(model)
        return model

    def _get_configured_serve_handle(self, model_id: str) -> DeploymentHandle:
        # An adapter is loaded in every replica of its base, so no replica is better than another.
        return super()._get_configured_serve_handle(self._adapters.get(model_id, model_id))

    async def chat_completions(self, request: Request) -> Response:
        """Answer a conversation, whole or as a stream of events."""
        body = await self._read(ChatBody, request)
        return await self._answer(body, "chat", request.scope["state"]["facts"])

    async def text_completions(self, request: Request) -> Response:
        """Continue each prompt, whole or as a stream of events."""
        body = await self._read(CompletionBody, request)
        return await self._answer(body, "completions", request.scope["state"]["facts"])

    async def _read(self, kind: type[BodyT], request: Request) -> BodyT:
        """The request's body, of which the engine can be asked everything."""
        raw = read_json(await request.body(), request.headers.get("content-type", ""))
        facts: dict[str, Any] = request.scope["state"]["facts"]
        body = parse(kind, raw, self._limits)
        body.model = facts["model"] = await self._get_model_id(body.model)
        facts["stream"] = body.stream
        if isinstance(body, ChatBody) and body.may_call and body.model not in self._calling:
            raise ApiError(
                400,
                f"tools: {body.model} is served without tools: the operator has to set models.N.tool_parser",
                code="invalid_value",
                param="tools",
            )
        source, trusted = self._tokenizer_of(body.model)
        await self._grammars.require(body.constraints(), source, trusted=trusted)
        return body

    def _tokenizer_of(self, model: str) -> tuple[str, bool]:
        return self._tokenizers[self._adapters.get(model, model)]

    async def _answer(self, body: AnyBody, call_method: str, facts: dict[str, Any]) -> Response:
        guarded = GuardedAnswer(
            await self._verdicts(body),
            chat=call_method == "chat",
            plain_text=adds_text(body),
            choices_each=body.n,
        )
        self._count(facts, {f for v in guarded.verdicts for f in v.red_flags}, "request")
        if not all(verdict.covered for verdict in guarded.verdicts):
            self._safety.count(["language_not_covered"], stage="request", mode=self._guard.mode)
        if adds_text(body) and all(verdict.answer_alone for verdict in guarded.verdicts):
            return _alone(guarded, body)
        deadline = time.monotonic() + self._limits.timeout_s
        answer = self._ask(body, call_method)
        try:
            first = await self._first(answer, streams=body.stream)
        except BaseException:
            answer.cancel()
            raise
        if not body.stream:
            whole = guarded.whole(first.model_dump())
            self._count(facts, guarded.faults, "answer")
            return JSONResponse(whole)
        events = self._events(first, answer, guarded, deadline, facts)
        return StreamingResponse(events, media_type="text/event-stream")

    async def _verdicts(self, body: AnyBody) -> list[Verdict]:
        """What the rules say of each prompt, by itself."""
        source, trusted = self._tokenizer_of(str(body.model))
        decode = functools.partial(decoded, source, trust_remote_code=trusted)
        # In a thread: the first prompt of token ids loads a tokenizer, and the rules read long prompts for a while.
        told = await asyncio.to_thread(conversations, body, decode)
        return [await asyncio.to_thread(self._guard.before, turns) for turns in told]

    def _ask(self, body: AnyBody, call_method: str) -> Any:
        assert body.model is not None
        replica = self._get_configured_serve_handle(body.model)
        return getattr(replica, call_method).remote(engine_request(body))

    async def _first(self, answer: Any, *, streams: bool) -> Any:
        """The whole answer, or the first packet of a stream."""
        seconds = self._limits.first_token_s if streams else self._limits.timeout_s
        try:
            first = await asyncio.wait_for(anext(answer), seconds)
        except TimeoutError:
            raise timed_out("first token" if streams else "answer", seconds) from None
        except StopAsyncIteration:
            raise ApiError(
                500, "the model gave no answer", code="internal_error", kind="server_error"
            ) from None
        if failed := failure(first):
            raise failed
        return first

    async def _events(
        self,
        first: Any,
        answer: Any,
        guarded: GuardedAnswer,
        deadline: float,
        facts: dict[str, Any],
    ) -> AsyncIterator[str]:
        """The stream to the client; a failure after its start is its last event."""
        try:
            async for event in guarded.events(self._packets(first, answer, deadline)):
                yield event
        except Exception as error:
            told = as_api_error(error)
            facts["failure"] = told.code or "failed"
            yield told.event()
        finally:
            # Also when the client is gone: the engine must not go on for nobody.
            with suppress(Exception):
                answer.cancel()
            self._count(facts, guarded.faults, "answer")

    async def _packets(self, first: Any, answer: Any, deadline: float) -> AsyncIterator[str]:
        for event in first if isinstance(first, list) else [first]:
            yield event
        while True:
            try:
                left = max(0.0, deadline - time.monotonic())
                packet = await asyncio.wait_for(anext(answer), left)
            except TimeoutError:
                raise timed_out("end of the answer", self._limits.timeout_s) from None
            except StopAsyncIteration:
                return
            if failed := failure(packet):
                raise failed
            for event in packet if isinstance(packet, list) else [packet]:
                yield event

    def _count(self, facts: dict[str, Any], rules: Any, stage: str) -> None:
        if rules:
            # How many, not which: a log of who showed which symptom would be health data.
            facts["safety_rules"] = facts.get("safety_rules", 0) + len(rules)
            self._safety.count(rules, stage=stage, mode=self._guard.mode)

    def _unknown(self, model: str | None) -> ApiError:
        known = ", ".join(self._model_cards)
        asked = "no model is named" if model is None else f"there is no model {model[:100]!r}"
        return ApiError(404, f"{asked}: use one of {known}", code="model_not_found", param="model")


def _alone(guarded: GuardedAnswer, body: AnyBody) -> Response:
    answer = guarded.alone(f"medray-{time.time_ns():x}", int(time.time()), str(body.model))
    if not body.stream:
        return JSONResponse(answer)
    return StreamingResponse(iter(guarded.alone_events(answer)), media_type="text/event-stream")
