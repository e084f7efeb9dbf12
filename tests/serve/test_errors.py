"""What clients are told of failures: theirs with the reason, ours without the inside, a loss only where one is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.llm._internal.serve.core.configs.openai_api_models import ErrorInfo, ErrorResponse
from vllm.exceptions import VLLMValidationError
from vllm.v1.engine.exceptions import EngineDeadError

from medray.serve.errors import as_api_error, failure

SECRET = "site-packages/vllm/secret.py"


def _task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("chat", f"Traceback {SECRET}", cause).as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ActorDiedError(), 503, "replica_lost"),
        (EngineDeadError(), 503, "replica_lost"),
        (_task_error(EngineDeadError()), 503, "replica_lost"),
        (_task_error(TypeError(SECRET)), 500, "internal_error"),
        (_task_error(UnicodeEncodeError("utf-8", "\ud800", 0, 1, SECRET)), 500, "internal_error"),
        (_task_error(VLLMValidationError("too long")), 400, "invalid_value"),
        (VLLMValidationError("too long", parameter="prompt", value=SECRET), 400, "invalid_value"),
    ],
)
def test_a_replica_is_lost_only_where_a_process_is_gone(
    error: Exception, status: int, code: str
) -> None:
    told = as_api_error(error)
    assert (told.status, told.code) == (status, code)
    assert SECRET not in json.dumps(told.body())


def _event(code: int, message: str) -> str:
    said = {"error": {"message": message, "type": "X", "param": "prompt", "code": code}}
    return f"data: {json.dumps(said)}\n\n"


@pytest.mark.parametrize(
    ("packet", "status", "said"),
    [
        (_event(400, "too long (parameter=prompt, value=abc)"), 400, "too long"),
        ([_event(500, SECRET)], 500, "internal error"),
        ([_event(500, SECRET) + "data: [DONE]\n\n"], 500, "internal error"),
        (ErrorResponse(error=ErrorInfo(message="no", type="X", code=400)), 400, "no"),
        (ErrorResponse(error=ErrorInfo(message=SECRET, type="X", code=501)), 500, "internal error"),
    ],
)
def test_what_the_engine_sends_in_place_of_an_answer(packet: Any, status: int, said: str) -> None:
    told = failure(packet)
    assert told is not None
    assert (told.status, told.message) == (status, said)


@pytest.mark.parametrize("packet", ['data: {"id": "x", "choices": []}\n\n', "data: [DONE]\n\n", []])
def test_packets_of_answers_are_no_failures(packet: Any) -> None:
    assert failure(packet) is None
