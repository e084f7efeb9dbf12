"""Clients that stream answers from a running service until they are told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from tests.support.service import TOKEN, RunningService

BODY: dict[str, Any] = {
    "model": "run", "messages": [{"role": "user", "content": "How is asthma treated?"}],
    "max_tokens": 16, "temperature": 0, "stream": True, "ignore_eos": True,
}  # fmt: skip


@dataclass
class Outcomes:
    """How requests ended: whole, with an error event, or with which status."""

    ended: Counter[str] = field(default_factory=Counter)
    texts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)


async def _client(http: httpx.AsyncClient, outcomes: Outcomes, go_on: Callable[[], bool]) -> None:
    while go_on():
        text, done = "", False
        async with http.stream("POST", "/v1/chat/completions", json=BODY) as answer:
            if answer.status_code != 200:
                await answer.aread()
                outcomes.ended[str(answer.status_code)] += 1
                outcomes.errors.append(answer.text)
                await asyncio.sleep(0.2)
                continue
            async for line in answer.aiter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line:
                    chunk = json.loads(line.removeprefix("data: "))
                    if "error" in chunk:
                        outcomes.errors.append(line)
                        break
                    text += "".join(c["delta"].get("content") or "" for c in chunk["choices"])
        outcomes.ended["whole" if done else "broken"] += 1
        if done:
            outcomes.texts.add(text)


async def load(
    service: RunningService, num_clients: int, go_on: Callable[[], bool], outcomes: Outcomes
) -> None:
    """Keep `num_clients` requests in flight while `go_on` says so."""
    limits = httpx.Limits(max_connections=num_clients)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        base_url=service.base, headers=headers, timeout=120, limits=limits
    ) as http:
        await asyncio.gather(*(_client(http, outcomes, go_on) for _ in range(num_clients)))


def replicas(service: RunningService, kind: str) -> list[psutil.Process]:
    """Processes of a deployment's replicas."""
    found: list[psutil.Process] = []
    for process in psutil.Process(service.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if f"ServeReplica:medray:{kind}" in " ".join(process.cmdline()):
                found.append(process)
    return found
