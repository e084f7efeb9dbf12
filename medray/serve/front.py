"""What every request passes before a model is asked: access log, token, room, size. Plain ASGI, outermost first."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medray.serve.access import AccessLog
from medray.serve.errors import ApiError, as_api_error
from medray.serve.metrics import RequestMetrics
from medray.serve.tokens import matching

OPEN = ("/health", "/ready")
"""Paths that need no token."""
COMPLETIONS = ("/v1/chat/completions", "/v1/completions")
BEARER = "bearer "


class RecordRequests:
    """One line and one count a request: what was asked of which model, how it ended, how long it took."""

    def __init__(self, app: ASGIApp, *, path: str | None) -> None:
        self.app = app
        self._log = AccessLog(path)
        self._metrics = RequestMetrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, watch its answer, write it down."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        facts: dict[str, Any] = {"method": scope["method"], "path": _known_path(route_path(scope))}
        scope.setdefault("state", {})["facts"] = facts
        started = time.monotonic()
        ended = "cancelled"  # by the client, or by a server that is stopped, unless the answer becomes whole

        async def watched(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                facts["status"] = message["status"]
            elif message["type"] == "http.response.body":
                facts.setdefault("first_byte_s", round(time.monotonic() - started, 4))
                facts["bytes_out"] = facts.get("bytes_out", 0) + len(message.get("body", b""))
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                ended = "complete"

        self._metrics.began()
        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            raise
        except Exception as error:
            if "status" in facts:
                ended = "failed"
                raise
            await as_api_error(error).response()(scope, receive, watched)
        finally:
            facts["seconds"] = round(time.monotonic() - started, 4)
            facts["ended"] = facts.pop("failure", None) or ended
            self._metrics.ended(facts)
            self._log.write(facts)


class RequireToken:
    """401 without a known bearer token, but for health checks; whatever lies behind never sees the token."""

    def __init__(self, app: ASGIApp, *, digests: tuple[str, ...]) -> None:
        self.app = app
        self._digests = digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the token of every path that is not open."""
        if scope["type"] == "http" and self._digests and route_path(scope) not in OPEN:
            header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            known = None
            if header[: len(BEARER)].lower() == BEARER:
                known = matching(header[len(BEARER) :].strip(), self._digests)
            if known is None:
                error = ApiError(
                    401,
                    "missing or unknown API key: send Authorization: Bearer TOKEN",
                    code="invalid_api_key",
                )
                await error.response()(scope, receive, send)
                return
            scope["state"]["facts"]["key"] = known[:8]
        if scope["type"] == "http":
            scope["headers"] = [h for h in scope["headers"] if h[0] != b"authorization"]
        await self.app(scope, receive, send)


class LimitConcurrency:
    """429 while as many completions are in flight as this process accepts."""

    def __init__(self, app: ASGIApp, *, max_concurrent: int) -> None:
        self.app = app
        self._max = max_concurrent
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count completions from their first byte to their last."""
        if scope["type"] != "http" or route_path(scope) not in COMPLETIONS:
            await self.app(scope, receive, send)
            return
        if self._in_flight >= self._max:
            error = ApiError(
                429,
                f"{self._max} requests are in flight already: try again later",
                code="rate_limit_exceeded",
                kind="rate_limit_error",
            )
            await error.response()(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._in_flight -= 1


class LimitBody:
    """413 for a body that is longer than allowed, whether or not its header says so."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self._max = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body up to the limit and hand it on in one piece."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        body, more = b"", not (declared.isdigit() and int(declared) > self._max)
        if not more:
            body = None
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max:
                body = None
                break
        if body is None:
            error = ApiError(
                413, f"the body is longer than {self._max} bytes", code="request_too_large"
            )
            await error.response()(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)


def route_path(scope: Scope) -> str:
    """The path below the application's prefix, which Ray Serve leaves in it."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _known_path(path: str) -> str:
    """The path without what a client made up, which would fill logs and metrics."""
    if path in (*COMPLETIONS, *OPEN, "/v1/models"):
        return path
    return "/v1/models/{model}" if path.startswith("/v1/models/") else "other"
