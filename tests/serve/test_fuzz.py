"""2,000 generated requests beside 16 well-behaved streams: no 5xx, nobody else harmed, memory flat."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
)

from tests.support.service import RunningService, tiny_service
from tests.support.streams import resident_bytes, well_behaved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

REQUESTS, CLIENTS, WARM = 2000, 8, 600
MODELS = ("tiny", "expert")
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
NAMES = {
    CHAT: [*ChatCompletionRequest.model_fields, "guided_json", "best_of", "functions", "", "a\ud800"],
    COMPLETION: [*CompletionRequest.model_fields, "guided_regex", "best_of", "\x00"],
}  # fmt: skip
TEXTS = [
    "",
    " ",
    "a",
    "x" * 3000,
    "\x00",
    "\ud800",
    "\U0001f600",
    "\u202eabc",
    "我胸口痛",
    "{{ 1 / 0 }}",
    "<|im_end|>",
    "(",
    "null",
]
NUMBERS = [0, 1, -1, 2, 0.5, -0.0, 1e308, 2**31, 2**63, -(2**63), 10**30, 1e-300]
SCHEMAS: list[Any] = [
    {"$ref": "#"},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"$ref": "#"}}},
    {"type": "string", "pattern": "(a|b){2,5}"},
    {"type": "string", "pattern": "("},
    {"type": "array", "minItems": 10**6, "items": {"type": "boolean"}},
    {"enum": [1, "a", None]},
    {"type": ["string", "null"]},
    {"not": {}},
    {"type": "object", "patternProperties": {"^a": {}}},
    {},
]


BOUND = {"prompt": "a", "max_tokens": 2, "structured_outputs": {"regex": "a+"}}


def _value(draw: random.Random, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: draw.choice(TEXTS),
        lambda: draw.choice(NUMBERS),
        lambda: draw.choice([None, True, False]),
        lambda: draw.choice(SCHEMAS),
        lambda: {"type": "json_schema", "json_schema": {"name": "n", "schema": draw.choice(SCHEMAS)}},
        lambda: {draw.choice(["json", "regex", "grammar", "choice"]): draw.choice([*SCHEMAS, *TEXTS])},
        lambda: {"type": "function", "function": {"name": "f", "parameters": draw.choice(SCHEMAS)}},
    ]  # fmt: skip
    if depth < 3:
        kinds += [
            lambda: [_value(draw, depth + 1) for _ in range(draw.randrange(4))],
            lambda: {draw.choice(TEXTS): _value(draw, depth + 1) for _ in range(draw.randrange(3))},
        ]
    return draw.choice(kinds)()


def _request(draw: random.Random) -> tuple[str, bytes]:
    path = draw.choice([CHAT, COMPLETION])
    body: dict[str, Any] = {"model": draw.choice(MODELS), "max_tokens": draw.randrange(1, 8)}
    if path == CHAT:
        body["messages"] = [{"role": "user", "content": draw.choice(TEXTS[1:5])}]
    else:
        body["prompt"] = draw.choice(["a", ["a", "b"], [1, 2], [[1], [2]]])
    body["stream"] = draw.random() < 0.3
    for _ in range(draw.randrange(4)):
        body[draw.choice(NAMES[path])] = _value(draw)
    if path == CHAT and draw.random() < 0.3:
        roles = ["user", "assistant", "tool", "SYSTEM", "x", "developer"]
        body["messages"] = [
            {
                "role": draw.choice(roles),
                draw.choice(["content", "name", "tool_calls"]): _value(draw),
            }
            for _ in range(draw.randrange(4))
        ]
    if draw.random() < 0.15:
        schema = draw.choice(SCHEMAS)
        form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        name = draw.choice(["response_format", "structured_outputs"])
        body[name] = form if name == "response_format" else {"json": schema}
    items = list(body.items())
    draw.shuffle(items)
    sent = json.dumps(dict(items)).encode()
    if draw.random() < 0.05:
        cut = draw.randrange(len(sent))
        sent = draw.choice([sent[:cut], sent + b"}", sent[:cut] + b"\xff" + sent[cut:], b""])
    return path, sent


service = tiny_service("limits.max_new_tokens=64", "models.0.tool_parser=hermes")


def test_no_request_harms_another(service: RunningService) -> None:
    draw = random.Random(7)
    requests = [_request(draw) for _ in range(REQUESTS)]
    statuses: Counter[int] = Counter()
    bad: list[str] = []
    headers = {"Content-Type": "application/json"}

    with service.http() as http, ThreadPoolExecutor(CLIENTS) as pool:

        def send(request: tuple[str, bytes]) -> None:
            path, body = request
            answer = http.post(path, content=body, headers=headers)
            statuses[answer.status_code] += 1
            broken = answer.status_code == 200 and '"error":' in answer.text.replace(" ", "")
            if answer.status_code >= 500 or broken:
                bad.append(f"{answer.status_code} {path} {body[:400]!r} {answer.text[-300:]}")

        with well_behaved(service, MODELS) as streams:
            send(
                (COMPLETION, json.dumps(BOUND).encode())
            )  # starts the process that compiles grammars
            list(pool.map(send, requests[:WARM]))
            before = resident_bytes(service)
            list(pool.map(send, requests[WARM:]))
            after = resident_bytes(service)
    print(statuses, streams.finished, f"{before / 1e6:.0f} -> {after / 1e6:.0f} MB")
    assert not bad, "\n".join(bad[:10])
    assert statuses[200] > 100
    assert statuses[400] > 500
    assert set(statuses) <= {200, 400, 404}
    assert after < before * 1.1
