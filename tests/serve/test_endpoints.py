"""Endpoints besides chats and completions, and likelihoods, on a really served tiny model without adapters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI
from transformers import AutoTokenizer

from tests.support.service import RunningService, tiny_service
from tests.support.streams import well_behaved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

USER = {"role": "user", "content": "How is asthma treated?"}
RED_FLAG = "I have crushing chest pain and I am sweating"
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}

service = tiny_service("models.0.tool_parser=hermes", "limits.max_scored_tokens=200", adapter=False)


@pytest.fixture(scope="module")
def client(service: RunningService) -> OpenAI:
    return service.client()


def _post(service: RunningService, path: str, status: int = 200, **fields: Any) -> dict[str, Any]:
    with service.http() as http:
        answer = http.post(path, json={"model": "tiny", **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_tokens_of_a_text_and_back(service: RunningService, tiny_model: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    found = _post(service, "/tokenize", prompt="fever and 咳嗽", return_token_strs=True)
    assert found["tokens"] == tokenizer("fever and 咳嗽")["input_ids"]
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])
    assert found["max_model_len"] == 1024
    assert _post(service, "/detokenize", tokens=found["tokens"])["prompt"] == "fever and 咳嗽"


def test_tokens_of_a_conversation_are_those_that_the_model_reads(service: RunningService) -> None:
    parts = [{"type": "text", "text": "How is "}, {"type": "text", "text": "asthma treated?"}]
    for content in (USER["content"], parts):
        message = {"role": "user", "content": content}
        found = _post(service, "/tokenize", messages=[message])
        chat = _post(service, "/v1/chat/completions", messages=[message], max_tokens=1)
        assert found["count"] == chat["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": [USER]}, "prompt"),
        ("/tokenize", {"messages": [USER], "chat_template": "{{ 1 }}"}, "chat_template"),
        ("/detokenize", {"tokens": ["a"]}, "tokens.0"),
        ("/detokenize", {"tokens": [-1]}, "tokens.0"),
        ("/detokenize", {"tokens": None}, "tokens"),
    ],
)
def test_mistakes_about_tokens(
    service: RunningService, path: str, fields: dict[str, Any], param: str
) -> None:
    assert _post(service, path, 400, **fields)["error"]["param"] == param


def test_unknown_token_ids_harm_nobody(service: RunningService) -> None:
    with service.http() as http:
        answer = http.post("/detokenize", json={"model": "tiny", "tokens": [5, 2**31 - 1]})
    assert answer.status_code in (200, 400), answer.text
    assert _post(service, "/detokenize", tokens=[5])["prompt"]


def test_likelihoods_of_prompts_as_lm_eval_asks_for_them(service: RunningService) -> None:
    """lm-eval's local-completions sends token ids, echo and one new token."""
    fields = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0, "seed": 1234}
    prompts = [[10, 20, 30, 40], [50, 60]]
    with well_behaved(service, ("tiny",), count=4):
        answer = _post(service, "/v1/completions", prompt=prompts, **fields)
        for _ in range(5):
            assert (
                _post(service, "/v1/completions", prompt=prompts, **fields)["choices"]
                == answer["choices"]
            )
    for prompt, choice in zip(prompts, answer["choices"], strict=True):
        found = choice["logprobs"]["token_logprobs"]
        assert found[0] is None
        assert len(found) == len(prompt) + 1
        assert all(-30 < each <= 0 for each in found[1:])
        assert len(choice["logprobs"]["top_logprobs"]) == len(found)


def test_likelihoods_are_the_models_own(service: RunningService, tiny_model: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids = [10, 20, 30, 40, 50]
    answer = _post(
        service, "/v1/completions", prompt=ids, echo=True, logprobs=0, max_tokens=1, temperature=0
    )
    found = answer["choices"][0]["logprobs"]["token_logprobs"][1 : len(ids)]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [logp[i, token].item() for i, token in enumerate(ids[1:])]
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("prompt", ["a " * 300, [5] * 201])
def test_longer_prompts_are_not_scored(service: RunningService, prompt: Any) -> None:
    error = _post(service, "/v1/completions", 400, prompt=prompt, echo=True, logprobs=1)["error"]
    assert error["param"] == "prompt"
    assert "limits.max_scored_tokens" in error["message"]


def test_a_response_by_the_official_client(client: OpenAI) -> None:
    response = client.responses.create(
        model="tiny", input="hello", max_output_tokens=6, temperature=0
    )
    assert response.status in ("completed", "incomplete")
    assert "not a diagnosis" in response.output_text
    assert response.usage is not None
    assert 0 < response.usage.output_tokens <= 6
    again = client.responses.create(
        model="tiny",
        input=[
            {"role": "user", "content": "hello"},
            *response.output,
            {"role": "user", "content": "why?"},
        ],  # type: ignore[misc,list-item]
        max_output_tokens=6,
    )
    assert again.usage is not None
    assert again.usage.input_tokens > response.usage.input_tokens


def test_a_streamed_response_begins_with_the_advice(client: OpenAI) -> None:
    events = list(
        client.responses.create(model="tiny", input=RED_FLAG, max_output_tokens=5, stream=True)
    )
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "emergency" in deltas[0]
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    whole = events[-1].response
    assert whole.output_text == "".join(deltas)
    assert whole.model_extra is not None
    assert whole.model_extra["medray_safety"]["red_flags"]


def test_a_response_bound_to_a_schema(client: OpenAI) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    schema["additionalProperties"] = False  # type: ignore[assignment]
    response = client.responses.create(
        model="tiny",
        input="hello",
        max_output_tokens=60,
        text={"format": {"type": "json_schema", "name": "n", "schema": schema}},
    )
    assert isinstance(json.loads(response.output_text)["a"], bool)


def test_a_response_that_calls_a_function(client: OpenAI) -> None:
    response = client.responses.create(
        model="tiny",
        input="hello",
        tools=[TOOL],
        tool_choice="required",
        max_output_tokens=200,  # type: ignore[list-item]
    )
    assert response.status == "incomplete" or response.output[0].type == "function_call"


def test_what_would_have_to_be_stored_is_refused_by_name(service: RunningService) -> None:
    for name, value in (("previous_response_id", "resp_1"), ("store", True), ("background", True)):
        error = _post(service, "/v1/responses", 400, input="hello", **{name: value})["error"]
        assert error["param"] == name
