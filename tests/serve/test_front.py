"""The front door in one process: tokens, bodies, concurrency, the access log, errors without insides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi import Request as HttpRequest
from ray.serve.exceptions import BackPressureError
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Scope

from medray.config.serve import ServeApp
from medray.serve.app import front
from medray.serve.errors import ApiError
from medray.serve.protocol.json_body import read_json
from medray.serve.tokens import digest

TOKEN = "a-token-of-enough-length"


def _app(tmp_path: Path, **limits: int) -> FastAPI:
    settings = {"models": [{"path": "x"}], "limits": limits, "access_log": str(tmp_path / "log")}
    app = front(ServeApp.model_validate(settings), (digest(TOKEN),))

    @app.post("/v1/chat/completions")
    async def chat(request: HttpRequest) -> dict[str, Any]:
        body = read_json(await request.body(), request.headers.get("content-type", ""))
        if body.get("raise") == "api":
            raise ApiError(404, "no such model", code="model_not_found", param="model")
        if body.get("raise") == "busy":
            raise BackPressureError(num_queued_requests=1, max_queued_requests=1)
        if body.get("raise") == "other":
            raise KeyError("secret inside")
        await asyncio.sleep(body.get("sleep", 0))
        return {"ok": len(json.dumps(body))}

    @app.post("/v1/completions")
    async def endless() -> StreamingResponse:
        async def words() -> AsyncIterator[str]:
            while True:
                yield "word "
                await asyncio.sleep(0.01)

        return StreamingResponse(words())

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {}

    return app


Request = tuple[str, str, Any]


def _call(app: FastAPI, *requests: Request, token: str | None = TOKEN) -> list[httpx.Response]:
    async def call() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://t", headers=headers
        ) as client:
            return list(
                await asyncio.gather(
                    *(client.request(m, path, content=body) for m, path, body in requests)
                )
            )

    return asyncio.run(call())


def _post(body: Any) -> tuple[str, str, bytes]:
    return ("POST", "/v1/chat/completions", json.dumps(body).encode())


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", "é"])
def test_only_known_tokens_pass(tmp_path: Path, token: str | None) -> None:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=_app(tmp_path))
        headers = {} if token is None else {b"authorization": f"Bearer {token}".encode("latin-1")}
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return await client.post("/v1/chat/completions", json={}, headers=headers)

    answer = asyncio.run(call())
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_right_token_passes_and_health_needs_none(tmp_path: Path) -> None:
    app = _app(tmp_path)
    assert _call(app, _post({}))[0].status_code == 200
    assert _call(app, ("GET", "/health", None), token=None)[0].status_code == 200


@pytest.mark.parametrize("prefix", ["", "/llm"])
@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "//v1/chat/completions", "/V1/x", "/x", ""]
)
def test_nothing_but_health_is_open(tmp_path: Path, prefix: str, path: str) -> None:
    async def call() -> tuple[int, int]:
        transport = httpx.ASGITransport(app=_app(tmp_path), root_path=prefix)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            refused = await client.post(f"http://t{prefix}{path}", json={})
            return refused.status_code, (await client.get(f"{prefix}/health")).status_code

    assert asyncio.run(call()) == (401, 200)


def test_bodies_are_bounded(tmp_path: Path) -> None:
    app = _app(tmp_path, max_body_bytes=2000)
    fits, too_long = _call(app, _post({"a": "x" * 1900}), _post({"a": "x" * 2000}))
    assert fits.status_code == 200
    assert too_long.status_code == 413
    assert too_long.json()["error"]["code"] == "request_too_large"


def test_concurrency_is_bounded_and_frees_up(tmp_path: Path) -> None:
    app = _app(tmp_path, max_concurrent=2)
    answers = _call(app, *[_post({"sleep": 0.2})] * 5)
    assert sorted(a.status_code for a in answers) == [200, 200, 429, 429, 429]
    refused = next(a for a in answers if a.status_code == 429)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert "retry-after" in refused.headers
    assert _call(app, _post({}))[0].status_code == 200


def test_bodies_that_do_not_come_in_take_nobodys_place_and_end(tmp_path: Path) -> None:
    app = _app(tmp_path, max_concurrent=2, read_s=1)

    async def late() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async def call() -> tuple[int, list[httpx.Response]]:
        transport = httpx.ASGITransport(app=app)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://t", headers=headers
        ) as client:
            path = "/v1/chat/completions"
            slow = [asyncio.create_task(client.post(path, content=late())) for _ in range(10)]
            await asyncio.sleep(0.1)
            beside = await client.post(path, json={})
            return beside.status_code, await asyncio.gather(*slow)

    beside, slow = asyncio.run(call())
    assert beside == 200
    assert {answer.status_code for answer in slow} == {408}
    assert slow[0].json()["error"]["code"] == "request_timeout"
    assert slow[0].headers["connection"] == "close"


@pytest.mark.parametrize("headers", [{"X-A": "x" * 2000}, {f"X-{i}": "y" for i in range(101)}])
def test_headers_are_bounded(tmp_path: Path, headers: dict[str, str]) -> None:
    app = _app(tmp_path, max_header_bytes=1500)

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return await client.get("/health", headers=headers)

    answer = asyncio.run(call())
    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "headers_too_large"


def test_the_requests_id_is_logged_and_an_odd_one_refused(tmp_path: Path) -> None:
    async def call() -> list[int]:
        transport = httpx.ASGITransport(app=_app(tmp_path))
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            ids = ("mine-1", "x" * 129, "name=x; y")
            answers = [await client.get("/health", headers={"X-Request-Id": i}) for i in ids]
            return [answer.status_code for answer in answers]

    assert asyncio.run(call()) == [200, 400, 400]
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [row.get("request_id") for row in rows] == ["mine-1", None, None]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("api", 404, "model_not_found"),
        ("busy", 503, "overloaded"),
        ("other", 500, "internal_error"),
    ],
)
def test_errors_have_openai_form_and_no_insides(
    tmp_path: Path, kind: str, status: int, code: str
) -> None:
    answer = _call(_app(tmp_path), _post({"raise": kind}))[0]
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "secret" not in answer.text


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_bad_json_is_a_bad_request(tmp_path: Path, body: bytes) -> None:
    answer = _call(_app(tmp_path), ("POST", "/v1/chat/completions", body))[0]
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_the_log_names_the_request_and_holds_no_body(tmp_path: Path) -> None:
    app = _app(tmp_path)
    _call(app, _post({"a": "patient-name"}), ("GET", "/etc/passwd", None))
    _call(app, _post({}), token="wrong")
    text = (tmp_path / "log").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert sorted(row["status"] for row in rows) == [200, 401, 404]
    assert {row["path"] for row in rows} == {"/v1/chat/completions", "other"}
    answered = next(row for row in rows if row["status"] == 200)
    assert answered["key"] == digest(TOKEN)[:8]
    assert answered["ended"] == "complete"
    for secret in ("patient-name", TOKEN, "passwd", "wrong"):
        assert secret not in text


@pytest.mark.parametrize("spec", ["2.3", "2.4"])  # who looks for the disconnection differs
def test_a_stream_whose_client_went_away_is_logged_as_cancelled(tmp_path: Path, spec: str) -> None:
    app = _app(tmp_path)
    headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
    scope: Scope = {"type": "http", "asgi": {"spec_version": spec}, "method": "POST"}
    scope |= {"path": "/v1/completions", "headers": headers, "query_string": b""}
    streams, asked = asyncio.Event(), False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"{}"}
        await streams.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if streams.is_set() and spec == "2.4":
            raise OSError("the client is gone")
        if message["type"] == "http.response.body":
            streams.set()

    async def call() -> None:
        with contextlib.suppress(ClientDisconnect):
            await asyncio.wait_for(app(scope, receive, send), 10)

    asyncio.run(call())
    [row] = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert row["status"] == 200
    assert row["ended"] == "cancelled"
