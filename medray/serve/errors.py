"""Errors as the OpenAI API words them: `{"error": {"message", "type", "param", "code"}}`, and nothing of the inside."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import FastAPI, Request
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.llm._internal.serve.core.configs.openai_api_models import ErrorResponse
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from medray.engines.vllm.failures import EngineDead, RequestRefused
from medray.observability.logging import get_logger

logger = get_logger(__name__)

RETRY_S = "5"
LOST = (
    DeploymentUnavailableError,
    EngineDead,
    RayActorError,
    WorkerCrashedError,
    NodeDiedError,
    LocalRayletDiedError,
    ObjectLostError,
)
"""Errors of processes that are gone. One that a living process raised is none of them."""
FAILED_EVENT = 'data: {"error"'
REPEATED = re.compile(r" \((parameter|value)=.*\)$", re.DOTALL)
"""What vLLM adds to its reasons: the value that was sent."""
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}


class ApiError(Exception):
    """A request is refused, or an answer failed; the message is meant for the client."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str = "invalid_request_error",
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.kind, self.param = (
            status,
            message,
            code,
            kind,
            param,
        )

    def body(self) -> dict[str, Any]:
        """Build the response body in OpenAI's error format."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    def response(self) -> JSONResponse:
        """The whole answer; retrying later helps where it says so."""
        headers = {"Retry-After": RETRY_S} if self.status in (429, 503) else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)

    def event(self) -> str:
        """The error as an event of a stream that has begun."""
        return f"data: {json.dumps(self.body(), ensure_ascii=False)}\n\n"


def overloaded(message: str) -> ApiError:
    """The service cannot answer now; a later try may succeed."""
    return ApiError(503, message, code="overloaded", kind="server_error")


def timed_out(what: str, seconds: float) -> ApiError:
    """Build the 504 error for an answer that took longer than `seconds`."""
    return ApiError(
        504, f"no {what} within {seconds:g} seconds", code="timeout", kind="server_error"
    )


def as_api_error(error: Exception) -> ApiError:
    """What a client is told of `error`; the log names its type, and neither has a body or a traceback."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BackPressureError):
        return overloaded("every replica is busy and the queue is full: try again later")
    cause: Any = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(error, LOST) or isinstance(cause, LOST):
        logger.warning("replica lost", extra={"error": type(error).__name__})
        return ApiError(
            503,
            "the replica that was answering is gone: send the request again",
            code="replica_lost",
            kind="server_error",
        )
    if isinstance(cause, RequestRefused):
        return refused_by_engine(400, str(cause), getattr(cause, "parameter", None))
    logger.error("request failed", extra={"error": type(cause).__name__})
    return ApiError(500, "internal error", code="internal_error", kind="server_error")


def refused_by_engine(status: int, message: str, param: str | None = None) -> ApiError:
    """What vLLM says of a request; of its own failures the client is told no more than that it failed."""
    if not 400 <= status < 500:
        return ApiError(500, "internal error", code="internal_error", kind="server_error")
    return ApiError(status, REPEATED.sub("", message), code="invalid_value", param=param)


def is_failure(packet: Any) -> bool:
    """True for what vLLM sends in place of an answer, or of the rest of one."""
    if isinstance(packet, list):
        return any(map(is_failure, packet))
    if isinstance(packet, str):
        return packet.startswith(FAILED_EVENT)
    return isinstance(packet, ErrorResponse)


def failure(packet: Any) -> ApiError | None:
    """The error in a packet of the engine's; None for a packet of an answer."""
    if isinstance(packet, list):
        return next(filter(None, map(failure, packet)), None)
    if not is_failure(packet):
        return None
    if isinstance(packet, ErrorResponse):
        said = packet.error.model_dump()
    else:
        said = json.loads(packet.partition("\n\n")[0].removeprefix("data: "))["error"]
    code = said.get("code")
    status = code if isinstance(code, int) else 500
    return refused_by_engine(status, str(said.get("message", "")), said.get("param"))


def add_handlers(app: FastAPI) -> None:
    """Have `app` answer every failure in this form."""

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code)
        return ApiError(error.status_code, str(error.detail), code=code).response()

    async def other(_: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ApiError, other)
    app.add_exception_handler(RayError, other)
