"""What every request passes before a model is asked: log, headers, token, body, room. Plain ASGI, outermost first."""

from __future__ import annotations

import asyncio
import re
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
ASKING = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/tokenize",
    "/detokenize",
)
"""Paths whose requests reach an engine."""
BEARER = "bearer "
REQUEST_ID = b"x-request-id"
SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""Ids that are logged; Ray Serve's proxy makes one where the client sent none, and returns it in the same header."""
MAX_HEADERS = 100


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
        given = dict(scope["headers"]).get(REQUEST_ID, b"")
        if SAFE_ID.fullmatch(given):
            facts["request_id"] = given.decode()
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


class LimitHeaders:
    """431 for headers that are more, or longer together, than anyone needs; 400 for a request id no log should hold."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self._max = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count and measure the headers, then pass the request on or refuse it."""
        if scope["type"] == "http":
            headers = scope["headers"]
            size = sum(len(name) + len(value) for name, value in headers)
            if size > self._max or len(headers) > MAX_HEADERS:
                error = ApiError(
                    431,
                    f"the headers are more than {MAX_HEADERS}, or longer than {self._max} bytes",
                    code="headers_too_large",
                )
                await error.response()(scope, receive, send)
                return
            if not SAFE_ID.fullmatch(dict(headers).get(REQUEST_ID, b"-")):
                error = ApiError(
                    400,
                    "X-Request-Id must be at most 128 letters, digits and ._:-",
                    code="invalid_value",
                    param="X-Request-Id",
                )
                await error.response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


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
    """429 while as many requests are in flight as this process accepts.

    Behind `LimitBody`: a request counts once it is there, so that clients who never finish theirs take nobody's place.
    """

    def __init__(self, app: ASGIApp, *, max_concurrent: int) -> None:
        self.app = app
        self._max = max_concurrent
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count requests to engines from the end of their body to the end of their answer."""
        if scope["type"] != "http" or route_path(scope) not in ASKING:
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
    """413 for a body that is longer than allowed, whether or not its header says so; 408 for one that is late."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, read_s: float) -> None:
        self.app = app
        self._max = max_bytes
        self._read_s = read_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body up to the limit and hand it on in one piece."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._read_s):
                body = await self._read(scope, receive)
        except ClientDisconnect:
            return
        except TimeoutError:
            said = f"the body has not come in within {self._read_s:g} seconds"
            await _refuse(408, said, "request_timeout")(scope, receive, send)
            return
        except _TooLongError:
            said = f"the body is longer than {self._max} bytes"
            await _refuse(413, said, "request_too_large")(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max:
            raise _TooLongError
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max:
                raise _TooLongError
        return bytes(body)


class _TooLongError(Exception):
    """A body is longer than allowed."""


def _refuse(status: int, message: str, code: str) -> ASGIApp:
    """The answer to a request whose body was not read to its end: the connection is of no further use."""
    response = ApiError(status, message, code=code).response()
    response.headers["Connection"] = "close"
    return response


def route_path(scope: Scope) -> str:
    """The path below the application's prefix, which Ray Serve leaves in it."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _known_path(path: str) -> str:
    """The path without what a client made up, which would fill logs and metrics."""
    if path in (*ASKING, *OPEN, "/v1/models"):
        return path
    return "/v1/models/{model}" if path.startswith("/v1/models/") else "other"
