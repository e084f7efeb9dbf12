"""A really served tiny model with an adapter: what clients get wrong is a 400, and harms nobody else."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest
from openai import OpenAI

from tests.support.service import TOKEN, RunningService, tiny_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

USER = {"role": "user", "content": "How is asthma treated?"}
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
ORIGIN = "https://clinic.example"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
MODELS = ("tiny", "expert")


service = tiny_service(
    "limits.max_new_tokens=700",
    "limits.read_s=3",
    "limits.max_concurrent=20",
    f"cors.origins=[{ORIGIN}]",
)


@pytest.fixture(scope="module")
def client(service: RunningService) -> OpenAI:
    return service.client()


def _ask(service: RunningService, path: str, model: str, **fields: Any) -> httpx.Response:
    base: dict[str, Any] = {"messages": [USER]} if path == CHAT else {"prompt": "fever"}
    body = json.dumps(
        {"model": model, "max_tokens": 4, **base, **fields}
    )  # with surrogates as they are
    with service.http() as http:
        return http.post(path, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {"prompt_logprobs": 1}),
        (CHAT, {"priority": 5}),
        (CHAT, {"kv_transfer_params": {"do_remote_decode": True}}),
        (CHAT, {"vllm_xargs": {"a": 1}}),
        (CHAT, {"cache_salt": "x"}),
        (CHAT, {"truncate_prompt_tokens": 1}),
        (CHAT, {"documents": [{"text": "x"}]}),
        (COMPLETION, {"prompt_logprobs": 1}),
        (COMPLETION, {"echo": True, "logprobs": 1}),
        (COMPLETION, {"prompt_embeds": ["x"]}),
    ],
)
def test_fields_that_would_harm_others_are_refused_beside_a_stream(
    service: RunningService, client: OpenAI, model: str, path: str, fields: dict[str, Any]
) -> None:
    beside = client.chat.completions.create(
        model=model, messages=[USER], max_tokens=60, stream=True, extra_body={"ignore_eos": True}
    )  # type: ignore[call-overload]
    events = iter(beside)
    next(events)
    answer = _ask(service, path, model, **fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == next(iter(fields))
    assert [e for e in events if e.choices][-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (CHAT, {"structured_outputs": {"regex": "("}}, 400),
        (CHAT, {"structured_outputs": {"grammar": "root ::= a"}}, 400),
        (CHAT, {"structured_outputs": {"json": {"type": "nosuch"}}}, 400),
        (CHAT, {"structured_outputs": {"json": {"type": "integer", "multipleOf": 2}}}, 400),
        (CHAT, {"structured_outputs": {"json": {"$ref": "#"}}}, 400),
        (CHAT, {"tools": [TOOL], "tool_choice": "auto"}, 400),
        (CHAT, {"tools": [TOOL]}, 400),
        (CHAT, {"tools": [TOOL], "tool_choice": "required"}, 400),
        (CHAT, {"logit_bias": {"99999999": 1}}, 400),
        (CHAT, {"n": 2, "temperature": 0}, 400),
        (CHAT, {"min_tokens": 700, "max_tokens": None}, 200),
        (CHAT, {"messages": [{"role": "user", "content": "\udc00"}]}, 400),
        (COMPLETION, {"prompt": [99_999_999]}, 400),
        (COMPLETION, {"prompt": [[1], [99_999_999]], "stream": True}, 400),
        (COMPLETION, {"prompt": "a " * 3000, "stream": True}, 400),
        (COMPLETION, {"stop_token_ids": [99_999_999]}, 400),
        (CHAT, {"stop": "x", "messages": [USER, {"role": "user", "content": "a " * 3000}], "stream": True}, 400),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", MODELS)
def test_mistakes_that_only_the_engine_sees_are_the_clients_too(
    service: RunningService, path: str, fields: dict[str, Any], status: int, model: str
) -> None:
    answer = _ask(service, path, model, **fields)
    assert answer.status_code == status, answer.text
    if status == 400:
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {"logprobs": True, "top_logprobs": 3}),
        (CHAT, {"tools": [TOOL], "tool_choice": "none"}),
        (CHAT, {"response_format": {"type": "json_object"}}),
        (CHAT, {"structured_outputs": {"choice": ["yes", "no"]}}),
        (CHAT, {"structured_outputs": {"grammar": 'root ::= "yes" | "no"'}}),
        (CHAT, {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "low"}),
        (CHAT, {"logit_bias": {"5": -100}, "seed": 1, "stop": ["x"], "top_k": 5, "min_p": 0.1}),
        (CHAT, {"messages": [{"role": "developer", "content": "Be brief."}, USER]}),
        (COMPLETION, {"echo": True}),
        (COMPLETION, {"logprobs": 2, "prompt": ["a", "b"], "n": 2}),
        (COMPLETION, {"structured_outputs": {"regex": "[ab]+"}, "ignore_eos": True}),
    ],
)
def test_what_is_vouched_for_works_with_and_without_an_adapter(
    service: RunningService, path: str, fields: dict[str, Any], model: str
) -> None:
    answer = _ask(service, path, model, **fields)
    assert answer.status_code == 200, answer.text


def test_clients_that_never_finish_a_body_keep_nobody_out(service: RunningService) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(60)]
    try:
        for each in slow:
            each.sendall(head.encode())
        time.sleep(0.5)
        assert _ask(service, CHAT, "tiny").status_code == 200
        for each in slow:
            each.settimeout(30)
        assert b" 408 " in slow[0].recv(200)
        assert b" 408 " in slow[-1].recv(200)
    finally:
        for each in slow:
            each.close()


def test_endless_headers_are_refused(service: RunningService) -> None:
    with service.http() as http:
        long = http.get("/v1/models", headers={"X-Long": "x" * 20_000})
        many = http.get("/v1/models", headers={f"X-{i}": "x" for i in range(200)})
    assert (long.status_code, many.status_code) == (431, 431)


@pytest.mark.parametrize(
    ("given", "status"), [("mine-1", 200), ("x" * 200, 400), ("a b", 400), (None, 200)]
)
def test_the_requests_id_is_bounded_and_returned(
    service: RunningService, given: str | None, status: int
) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    with service.http() as http:
        answer = http.get("/v1/models", headers=headers)
    assert answer.status_code == status
    returned = answer.headers.get_list("x-request-id")
    assert len(returned) == 1
    assert status == 400 or given in (None, returned[0])


def test_one_id_for_many_requests_mixes_nothing_up(service: RunningService) -> None:
    def ask(_: int) -> int:
        with service.http() as http:
            body = {"model": "tiny", "messages": [USER], "max_tokens": 20}
            return http.post(CHAT, json=body, headers={"X-Request-Id": "same"}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {200}


def test_browsers_of_the_named_origins_may_ask(service: RunningService) -> None:
    asked = {"Access-Control-Request-Method": "POST"}
    asked |= {"Access-Control-Request-Headers": "authorization,content-type"}
    for origin, allowed in ((ORIGIN, True), ("https://other.example", False)):
        before = httpx.options(f"{service.base}{CHAT}", headers={"Origin": origin, **asked})
        assert (before.headers.get("access-control-allow-origin") == origin) == allowed
    with service.http() as http:
        answer = http.get("/v1/models", headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("model", MODELS)
def test_an_engine_that_dies_in_a_stream_is_told_as_documented(
    service: RunningService, model: str
) -> None:
    """Last: the engine has to start again afterwards."""
    body = {
        "model": model,
        "messages": [USER],
        "max_tokens": 700,
        "ignore_eos": True,
        "stream": True,
    }
    with service.http() as http, http.stream("POST", CHAT, json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        for process in psutil.Process(service.process.pid).children(recursive=True):
            if process.name().startswith("VLLM::"):
                process.kill()
        rest = [line for line in lines if line]
    assert '"code": "replica_lost"' in rest[-1]
    assert "[DONE]" not in "".join(rest)
    assert "EngineCore" not in "".join(rest)
    deadline = time.monotonic() + 30
    while '"ended": "replica_lost"' not in service.log_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    row = next(r for r in service.log_text().splitlines() if '"ended": "replica_lost"' in r)
    assert f'"model": "{model}"' in row
    service.access_log.write_text("")
    service.wait_ready()
