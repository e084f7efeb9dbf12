"""100 clients that never finish their body, 100 that do not read, 100 that close half: 16 streams beside them go on."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.service import TOKEN, RunningService, tiny_service
from tests.support.streams import well_behaved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CLIENTS, CONCURRENT = 100, 150
MORE = CONCURRENT + 20
"""Slow bodies that would fill the service, did they count before they are read."""
MODELS = ("tiny", "expert")


service = tiny_service(
    "limits.max_new_tokens=700", "limits.read_s=20", f"limits.max_concurrent={CONCURRENT}"
)


def _request(tokens: int, *, sent: int | None = None, top_logprobs: int = 0) -> bytes:
    """A streaming request over HTTP/1.1; `sent` bytes of its body."""
    asked = {"model": "tiny", "max_tokens": tokens, "ignore_eos": True, "stream": True}
    if top_logprobs:
        asked |= {"logprobs": True, "top_logprobs": top_logprobs}
    body = json.dumps({**asked, "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body[:sent]


@contextlib.contextmanager
def _connections(service: RunningService, count: int = CLIENTS) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        made: list[socket.socket] = []
        for _ in range(count):
            each = stack.enter_context(socket.socket())
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            each.connect(("127.0.0.1", service.port))
            each.settimeout(60)
            made.append(each)
        yield made


def _said(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    said = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := connection.recv(65536):
            said += piece
            if b"data: [DONE]" in said or b'"error"' in said:
                break
    return said


def test_slow_bodies(service: RunningService) -> None:
    with _connections(service, MORE) as connections, well_behaved(service, MODELS):
        for each in connections:
            each.sendall(_request(8, sent=1))
        time.sleep(2)
        for each in connections:
            each.sendall(b'"')  # one more byte gives no more time
        assert all(b" 408 " in _said(each) for each in connections)


def test_slow_readers(service: RunningService) -> None:
    with _connections(service) as connections, well_behaved(service, MODELS) as streams:
        for each in connections:
            each.sendall(_request(64, top_logprobs=20))  # more than the sockets on the way hold
        streams.wait_for_more(8)
        assert all(b"data: [DONE]" in _said(each) for each in connections)


def test_half_closed_sockets(service: RunningService) -> None:
    with _connections(service) as connections, well_behaved(service, MODELS) as streams:
        for i, each in enumerate(connections):
            each.sendall(_request(40, sent=None if i % 2 else 1))
            each.shutdown(socket.SHUT_WR)
        streams.wait_for_more(8)
    with service.http() as http:
        beside = http.post(
            "/v1/chat/completions",
            json={
                "model": "tiny",
                "max_tokens": 2,
                "messages": [{"role": "user", "content": "hi"}],
            },
        )
    assert beside.status_code == 200
