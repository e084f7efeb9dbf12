"""An OpenAI-shaped service with scripted answers, in a thread."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, StreamingResponse

from tests.support.service import free_port

NUM_WORDS = 40


class ScriptedApi:
    """Echoes the last question and counts words; "busy" in it is refused, "chest" in it is a red flag, with "long" in
    it only one turn fits."""

    def __init__(self, word_s: float = 0.0) -> None:
        self.word_s = word_s
        self.bodies: list[dict[str, Any]] = []
        self.num_cancelled = 0
        self.app = FastAPI()
        self.app.get("/v1/models")(self.models)
        self.app.post("/v1/chat/completions")(self.chat)

    async def models(self) -> dict[str, Any]:
        """Two models."""
        cards = [{"id": name, "object": "model"} for name in ("tiny", "expert")]
        return {"object": "list", "data": cards}

    async def chat(self, request: Request) -> Any:
        """Stream an answer."""
        body = await request.json()
        self.bodies.append(body)
        question = body["messages"][-1]["content"]
        if "busy" in question:
            error = {"message": "every replica is busy", "type": "server_error", "code": "overloaded"}  # fmt: skip
            return JSONResponse({"error": error}, 400)
        if "long" in question and len(body["messages"]) > 1:
            error = {"message": "the maximum context length is 9 tokens", "code": "invalid_value"}
            return JSONResponse({"error": error}, 400)
        return StreamingResponse(self._events(question), media_type="text/event-stream")

    async def _events(self, question: str) -> AsyncIterator[str]:
        try:
            words = [f"Echo: {question}.", *(f"word{i}" for i in range(NUM_WORDS))]
            for i, word in enumerate(words):
                choice = {"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}
                chunk: dict[str, Any] = {"id": "x", "object": "chat.completion.chunk", "created": 0}
                chunk |= {"model": "m", "choices": [choice]}
                if i == 0 and "chest" in question:
                    chunk["medray_safety"] = {"red_flags": ["chest_pain"], "answer_faults": []}
                yield f"data: {json.dumps(chunk)}\n\n"
                await asyncio.sleep(self.word_s)
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI application; yields its address."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
