"""A judge that is told how to answer each request: it hangs, errs, lies or dies on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG_S = 30.0

Script = Callable[[int, str], Any]
"""From the number of a request (0 is the first) and its last message to how it is answered.

A text is the content of the answer; a number is a status; "hang" waits; "die" closes the connection; "half" ends the
reply in its middle; bytes are sent as the body.
"""


class ScriptedJudge:
    """What was asked so far, and how many requests were under way at once."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self.answer_s = 0.0
        self.stopped = threading.Event()
        self._now = 0
        self._lock = threading.Lock()

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> Any:
        """Note a request; returns how to answer it."""
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(headers)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            time.sleep(self.answer_s)
            return self.script(number, body["messages"][-1]["content"])
        finally:
            with self._lock:
                self._now -= 1


def completion(content: str) -> bytes:
    """A chat completion with this text."""
    message = {"role": "assistant", "content": content}
    return json.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    ).encode()


@contextmanager
def scripted_judge(script: Script) -> Iterator[tuple[str, ScriptedJudge]]:
    """Serve a scripted judge; yields its address and what it was asked."""
    judge = ScriptedJudge(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            how = judge.take(body, dict(self.headers))
            if how == "hang":
                judge.stopped.wait(HANG_S)
                self.close_connection = True
                return
            if how == "die":
                self.close_connection = True
                self.connection.close()
                return
            status = how if isinstance(how, int) else 200
            content = (
                how if isinstance(how, bytes) else completion(how if isinstance(how, str) else "")
            )
            half = how == "half"
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) * (2 if half else 1)))
            if status == 429:
                self.send_header("Retry-After", "0.05")
            self.end_headers()
            self.wfile.write(content)
            if half:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up on purpose
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", judge
    finally:
        judge.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
