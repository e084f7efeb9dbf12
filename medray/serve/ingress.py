"""The OpenAI endpoints: find the model, keep the limits, run the safety hook, pass the tokens on."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

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
from medray.serve.protocol.parsing import parse
from medray.serve.protocol.response_events import as_response, response_events
from medray.serve.protocol.responses import ResponsesBody
from medray.serve.protocol.tokens import DetokenizeBody, TokenizeBody
from medray.serve.reading import RequestReader, ServedModels
from medray.serve.requests import adds_text, conversations, engine_request, tokens_request
from medray.serve.streaming import GuardedAnswer

keep_replica_on_loopback()  # before Serve opens the replica's port

READY_S = 5.0


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
        self._safety = SafetyMetrics()
        for name, base in adapters.items():
            card = model_cards[base]
            self._model_cards[name] = card.model_copy(
                update={"id": name, "metadata": {**card.metadata, "model_id": name, "base": base}}
            )
        self._models = ServedModels(
            names=self._model_cards,
            adapters=adapters,
            tokenizers=tokenizers,
            calling={
                name
                for base, served in zip(model_cards, app.models, strict=True)
                if served.tool_parser is not None
                for name in (base, *(a for a, of in adapters.items() if of == base))
            },
        )
        self._reader = RequestReader(self._limits, self._models)

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
            raise self._models.unknown(model)
        return card

    def _get_configured_serve_handle(self, model_id: str) -> DeploymentHandle:
        # An adapter is loaded in every replica of its base, so no replica is better than another.
        return super()._get_configured_serve_handle(self._models.base_of(model_id))

    async def chat_completions(self, request: Request) -> Response:
        """Answer a conversation, whole or as a stream of events."""
        return _sent(await self._answer(await self._reader.read(ChatBody, request), request))

    async def text_completions(self, request: Request) -> Response:
        """Continue each prompt, whole or as a stream of events."""
        return _sent(await self._answer(await self._reader.read(CompletionBody, request), request))

    async def responses(self, request: Request) -> Response:
        """Answer in the form of the Responses API, by the chat that the request stands for."""
        body = await self._reader.read(ResponsesBody, request)
        chat = parse(ChatBody, body.chat(), self._limits)
        answer = await self._answer(chat, request)
        if isinstance(answer, dict):
            return _sent(as_response(body, answer))
        return _sent(response_events(body, str(body.model), answer))

    async def tokenize(self, request: Request) -> Response:  # type: ignore[override]
        """Split a text, or a conversation as the model reads it, into tokens."""
        body = await self._reader.read(TokenizeBody, request)
        return _sent(await self._asked_once(str(body.model), "tokenize", tokens_request(body)))

    async def detokenize(self, request: Request) -> Response:  # type: ignore[override]
        """Answer with the text of token ids."""
        body = await self._reader.read(DetokenizeBody, request)
        return _sent(await self._asked_once(str(body.model), "detokenize", tokens_request(body)))

    async def _asked_once(self, model: str, method: str, asked: Any) -> dict[str, Any]:
        """What the engine says to a request that no rule of safety concerns."""
        answer = getattr(self._get_configured_serve_handle(model), method).remote(asked)
        try:
            return (await self._first(answer, streams=False)).model_dump()
        finally:
            answer.cancel()

    async def _answer(self, body: AnyBody, request: Request) -> dict[str, Any] | AsyncIterator[str]:
        """The answer under the safety hook: whole, or its events."""
        facts: dict[str, Any] = request.scope["state"]["facts"]
        guarded = GuardedAnswer(
            await self._verdicts(body),
            chat=isinstance(body, ChatBody),
            plain_text=adds_text(body),
            choices_each=body.n,
        )
        self._count(facts, {f for v in guarded.verdicts for f in v.red_flags}, "request")
        if not all(verdict.covered for verdict in guarded.verdicts):
            self._safety.count(["language_not_covered"], stage="request", mode=self._guard.mode)
        if adds_text(body) and all(verdict.answer_alone for verdict in guarded.verdicts):
            return _alone(guarded, body)
        deadline = time.monotonic() + self._limits.timeout_s
        replica = self._get_configured_serve_handle(str(body.model))
        method = replica.chat if isinstance(body, ChatBody) else replica.completions
        answer: Any = method.remote(engine_request(body))
        try:
            first = await self._first(answer, streams=body.stream)
        except BaseException:
            answer.cancel()
            raise
        if body.stream:
            return self._events(first, answer, guarded, deadline, facts)
        whole = guarded.whole(first.model_dump())
        self._count(facts, guarded.faults, "answer")
        return whole

    async def _verdicts(self, body: AnyBody) -> list[Verdict]:
        """What the rules say of each prompt, by itself."""
        source, trusted = self._models.tokenizer_of(str(body.model))
        decode = functools.partial(decoded, source, trust_remote_code=trusted)
        # In a thread: the first prompt of token ids loads a tokenizer, and the rules read long prompts for a while.
        told = await asyncio.to_thread(conversations, body, decode)
        return [await asyncio.to_thread(self._guard.before, turns) for turns in told]

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


def _alone(guarded: GuardedAnswer, body: AnyBody) -> dict[str, Any] | AsyncIterator[str]:
    answer = guarded.alone(f"medray-{time.time_ns():x}", int(time.time()), str(body.model))
    return _each(guarded.alone_events(answer)) if body.stream else answer


async def _each(events: list[str]) -> AsyncIterator[str]:
    for event in events:
        yield event


def _sent(answer: dict[str, Any] | AsyncIterator[str]) -> Response:
    """An answer on its way to the client."""
    if isinstance(answer, dict):
        return JSONResponse(answer)
    return StreamingResponse(answer, media_type="text/event-stream")
