"""One real deployment of a tiny random model and an adapter, driven through the official client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import psutil
import pytest
from openai import OpenAI

from tests.support.service import TOKEN, RunningService, tiny_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DISCLAIMER = "not a diagnosis"
SECRET = "zebra-stripe-4711"
USER = [{"role": "user", "content": "How is asthma treated?"}]
RED_FLAG = [{"role": "user", "content": "I have crushing chest pain and I am sweating"}]


service = tiny_service(
    "limits.max_new_tokens=700", "limits.max_body_bytes=20000", "models.0.tool_parser=hermes"
)


@pytest.fixture(scope="module")
def client(service: RunningService) -> OpenAI:
    return service.client()


def test_models_are_listed_with_their_adapters(client: OpenAI) -> None:
    assert [card.id for card in client.models.list()] == ["tiny", "expert"]
    assert client.models.retrieve("expert").id == "expert"


def test_a_cpu_model_runs_in_its_schedulers_process(service: RunningService) -> None:
    children = psutil.Process(service.process.pid).children(recursive=True)
    names = [name for child in children if (name := child.name()).startswith("VLLM::")]
    assert len(names) == 1, f"a scheduler that waits for another process spins: {names}"
    assert names[0].startswith("VLLM::Engine")


def test_chat_answers_and_counts_tokens(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=USER, max_tokens=12, temperature=0
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.choices[0].finish_reason == "length"
    assert DISCLAIMER in (answer.choices[0].message.content or "")


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI) -> None:
    request = {"model": "tiny", "messages": RED_FLAG, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**request)
    usage = {"include_usage": True}
    chunks = list(client.chat.completions.create(**request, stream=True, stream_options=usage))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert text.startswith("⚠️")
    assert text.rstrip().endswith("decide about care.")
    assert sum(len(c.choices) > 0 for c in chunks) > 4, "the answer came in one piece"
    assert chunks[-1].usage is not None
    assert whole.model_extra is not None
    assert whole.model_extra["medray_safety"]["red_flags"] == ["chest_pain"]


def test_tokens_of_a_stream_arrive_one_by_one(service: RunningService) -> None:
    body = {
        "model": "tiny",
        "messages": USER,
        "max_tokens": 400,
        "ignore_eos": True,
        "stream": True,
    }
    arrivals: list[float] = []
    with service.http() as http, http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                assert line.startswith("data: ")
                arrivals.append(time.monotonic())
    assert line == "" or line == "data: [DONE]"
    assert len(arrivals) > 100
    middle = arrivals[len(arrivals) // 2]
    assert middle - arrivals[0] > 0.1 * (arrivals[-1] - arrivals[0]), "it was buffered"


def test_completions_with_logprobs_and_choices(client: OpenAI) -> None:
    answer = client.completions.create(
        model="tiny", prompt="fever", max_tokens=5, n=2, logprobs=2, seed=1, temperature=1
    )
    assert len(answer.choices) == 2
    for choice in answer.choices:
        assert choice.logprobs is not None
        assert len(choice.logprobs.token_logprobs or []) == 5
    asked = {"model": "tiny", "prompt": "fever", "max_tokens": 12, "temperature": 0}
    whole = client.completions.create(**asked).choices[0].text
    pieces = list(client.completions.create(**asked, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == whole
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "length"


def test_chat_logprobs(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=USER, max_tokens=4, logprobs=True, top_logprobs=3
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [len(token.top_logprobs) for token in logprobs.content] == [3] * 4


def test_json_answers_stay_json(client: OpenAI) -> None:
    number = {"type": "integer", "minimum": 0, "maximum": 9}
    schema = {"type": "object", "properties": {"n": number}, "required": ["n"]}
    answer = client.chat.completions.create(
        model="tiny",
        messages=RED_FLAG,
        max_tokens=600,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    text = answer.choices[0].message.content or ""
    assert DISCLAIMER not in text
    if answer.choices[0].finish_reason == "stop":
        assert "n" in json.loads(text)


def test_a_tool_that_must_be_called_is_called(client: OpenAI) -> None:
    unit = {"type": "string", "enum": ["C", "F"]}
    parameters = {"type": "object", "properties": {"unit": unit}, "required": ["unit"]}
    answer = client.chat.completions.create(
        model="tiny",
        messages=RED_FLAG,
        max_tokens=300,
        temperature=0,
        tools=[{"type": "function", "function": {"name": "thermometer", "parameters": parameters}}],
        tool_choice={"type": "function", "function": {"name": "thermometer"}},
    )
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.function.name == "thermometer"
    if answer.choices[0].finish_reason != "length":
        assert json.loads(call.function.arguments)["unit"] in ("C", "F")
    assert "emergency number" in (answer.choices[0].message.content or "")


def test_the_adapter_answers_under_its_own_name(client: OpenAI) -> None:
    answers = {
        model: client.chat.completions.create(
            model=model, messages=USER, max_tokens=16, temperature=0
        )
        for model in ("tiny", "expert")
    }
    assert answers["expert"].model == "expert"
    texts = {model: a.choices[0].message.content for model, a in answers.items()}
    assert texts["tiny"] != texts["expert"]


def test_wrong_token(service: RunningService) -> None:
    wrong = OpenAI(base_url=f"{service.base}/v1", api_key="not-the-right-token", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        wrong.chat.completions.create(model="tiny", messages=USER)
    assert caught.value.code == "invalid_api_key"
    assert httpx.get(f"{service.base}/v1/models").status_code == 401
    assert httpx.get(f"{service.base}/health").status_code == 200


def test_unknown_model(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4", messages=USER)
    assert caught.value.code == "model_not_found"
    assert "use one of tiny, expert" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not valid JSON"),
        (b'{"model": "tiny"}', 400, "messages"),
        (b'{"model": "tiny", "messages": "zebra-stripe-4711"}', 400, "messages"),
        (b'{"model": "tiny", "messages": [], "n": 99}', 400, "n must be"),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 701}', 400, "at most 700"),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "temperature": -1}', 400, "temperature"),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "' + b"a" * 1800 + b'"}]}', 400, "context"),
        (b"[" * 15000, 400, ""),
        (b"x" * 20001, 413, "longer than 20000"),
    ],
)  # fmt: skip
def test_bad_requests(service: RunningService, body: bytes, status: int, said: str) -> None:
    with service.http() as http:
        answer = http.post(
            "/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert said in error["message"]
    for inside in ("Traceback", "site-packages", "ray::", "/root", SECRET):
        assert inside not in answer.text


def test_body_without_a_length_is_bounded_too(service: RunningService) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    with service.http() as http:
        answer = http.post("/v1/chat/completions", content=endless())
    assert answer.status_code == 413


def test_paths_that_are_not_served(service: RunningService) -> None:
    with service.http() as http:
        absent = (("GET", "/docs", 404), ("GET", "/v1/nothing", 404), ("DELETE", "/v1/models", 405))
        for method, path, status in absent:
            answer = http.request(method, path)
            assert answer.status_code == status
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def _metric(service: RunningService, name: str, **tags: str) -> float | None:
    """Sum of a metric over its label sets; None where it has none yet."""
    text = httpx.get(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=20).text
    values = [
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith((f"{name}{{", f"{name} "))
        and all(f'{key}="{value}"' in line for key, value in tags.items())
    ]
    return sum(values) if values else None


def _until(holds: object, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.5)
    return False


def test_a_cancelled_stream_stops_the_engine(service: RunningService, client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tiny", messages=USER, max_tokens=700, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    assert _until(lambda: '"ended": "cancelled"' in service.log_text()), service.log_text()[-2000:]
    assert _until(lambda: _metric(service, "ray_vllm_num_requests_running") == 0)


def test_metrics_of_front_door_rules_and_engine(service: RunningService, client: OpenAI) -> None:
    client.chat.completions.create(model="tiny", messages=RED_FLAG, max_tokens=2)
    for name, tags in (
        ("ray_medray_serve_requests_total", {"status": "200", "model": "tiny"}),
        ("ray_medray_serve_safety_rules_total", {"rule": "chest_pain", "mode": "enforce"}),
        ("ray_vllm_generation_tokens_total", {}),
    ):
        assert _until(lambda name=name, tags=tags: (_metric(service, name, **tags) or 0) > 0), name


def test_access_log_has_no_bodies_and_no_tokens(service: RunningService, client: OpenAI) -> None:
    asked = [{"role": "user", "content": f"{SECRET} chest pain, sweating"}]
    client.chat.completions.create(model="tiny", messages=asked, max_tokens=2)
    assert _until(lambda: '"safety_rules"' in service.log_text())
    rows = [json.loads(line) for line in service.log_text().splitlines()]
    answered = [row for row in rows if row.get("status") == 200 and row.get("model") == "tiny"]
    keys = {"time", "method", "path", "key", "model", "stream", "seconds", "ended"}
    assert keys <= set(answered[-1])
    for text in (service.log_text(), service.output.read_text()):
        assert SECRET not in text
        assert TOKEN not in text
        assert "chest_pain" not in text


def test_everything_listens_on_loopback(service: RunningService) -> None:
    import psutil

    tree = [psutil.Process(service.process.pid)]
    tree += tree[0].children(recursive=True)
    open_to_others = [
        (process.name(), c.laddr)
        for process in tree
        for c in process.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
        and c.laddr.ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")
    ]
    assert not open_to_others


def test_each_prompt_of_a_list_is_judged_by_itself_as_text_and_as_token_ids(
    client: OpenAI, tiny_model: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    said, asked = "I have crushing chest pain", "How is asthma treated?"
    ids = [tokenizer(text)["input_ids"] for text in (said, asked)]
    for prompt in ([said, asked], ids):
        answer = client.completions.create(model="tiny", prompt=prompt, max_tokens=2)
        advised = ["emergency number" in choice.text for choice in answer.choices]
        assert advised == [True, False]


@pytest.mark.parametrize("stream", [False, True])
def test_an_emergency_told_by_a_tool_or_a_developer_is_heard(client: OpenAI, stream: bool) -> None:
    messages = [USER[0], {"role": "developer", "content": RED_FLAG[0]["content"]}]
    answer = client.chat.completions.create(
        model="tiny",
        messages=messages,  # type: ignore[arg-type]
        max_tokens=2,
        stream=stream,
    )
    if stream:
        text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    else:
        text = answer.choices[0].message.content
    assert "emergency number" in text


def test_stopping_finishes_open_streams(service: RunningService, client: OpenAI) -> None:
    """Last: the service is gone afterwards."""
    stream = client.chat.completions.create(
        model="tiny", messages=USER, max_tokens=600, stream=True, extra_body={"ignore_eos": True}
    )
    events = iter(stream)
    next(events)
    service.process.terminate()
    rest = [chunk for chunk in events if chunk.choices]
    assert rest[-1].choices[0].finish_reason == "length"
    assert service.process.wait(120) == 0
    assert "stopping" in service.output.read_text()
