"""`medray quantise` with bitsandbytes: what it writes loads, what it says of the model is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from medray.cli import app
from medray.config.model import LoraConfig, ModelConfig
from medray.config.quantise import QuantiseJob
from medray.errors import ConfigError, DataError, ModelError
from medray.models.load import load_policy, load_reward_model
from medray.models.quantisation.compressor import compress
from medray.models.quantisation.tools import require_tools


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings that read a dozen documents and questions."""
    folder = tmp_path_factory.mktemp("data")
    documents = [f"Document {i} says that the dose is {i * 7} mg a day." for i in range(12)]
    (folder / "text.txt").write_text("\n\n".join(documents))
    rows = [
        {"question": f"What is {i} + 1?", "options": [str(i), str(i + 1)], "answer": "B"}
        for i in range(12)
    ]
    (folder / "choice.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    settings = [f"text.path={folder / 'text.txt'}", "text.num_eval=6", "max_tokens=64"]
    return [*settings, f"questions.path={folder / 'choice.jsonl'}", "questions.num_eval=8"]


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["quantise", *arguments])


@pytest.mark.parametrize("method", ["4bit", "8bit"])
def test_a_smaller_folder_that_loads_and_a_record_of_its_cost(
    tiny_model: Path, tmp_path: Path, few: list[str], method: str
) -> None:
    out = tmp_path / "small"
    done = _run(str(tiny_model), str(out), f"method={method}", *few)
    assert done.exit_code == 0, done.output or done.exception
    assert "perplexity" in done.output
    assert "of them answered alike" in done.output
    record = json.loads((out / "quantisation.json").read_text())
    before, after = record["before"], record["after"]
    assert after["weight_bytes"] < before["weight_bytes"]
    assert after["perplexity"] != before["perplexity"]
    change = record["change"]["nats_per_token"]
    assert change["n"] == 6
    assert change["low"] <= change["value"] <= change["high"]
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.config.quantization_config.quant_method == "bitsandbytes"
    assert model(torch.tensor([[1, 40, 7]])).logits.isfinite().all()


def test_an_adapter_is_merged_first(tiny_model: Path, tmp_path: Path, few: list[str]) -> None:
    policy = load_policy(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)))
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.add_(0.2 * torch.randn_like(parameter))
    policy.adapter.save_pretrained(tmp_path / "adapter")
    policy.tokenizer.save_pretrained(tmp_path / "adapter")
    assert _run(str(tmp_path / "adapter"), str(tmp_path / "a"), *few).exit_code == 0
    assert _run(str(tiny_model), str(tmp_path / "b"), *few).exit_code == 0
    records = [json.loads((tmp_path / n / "quantisation.json").read_text()) for n in "ab"]
    assert records[0]["before"]["perplexity"] != records[1]["before"]["perplexity"]


def test_what_cannot_be_quantised_is_named(
    tiny_model: Path, tmp_path: Path, few: list[str]
) -> None:
    (tmp_path / "there").mkdir()
    assert isinstance(_run(str(tiny_model), str(tmp_path / "there")).exception, ConfigError)
    reward = load_reward_model(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)))
    reward.adapter.save_pretrained(tmp_path / "reward")
    refused = _run(str(tmp_path / "reward"), str(tmp_path / "out")).exception
    assert isinstance(refused, ModelError)
    assert "reward model" in str(refused)
    twice = tmp_path / "once"
    assert _run(str(tiny_model), str(twice), *few).exit_code == 0
    refused = _run(str(twice), str(tmp_path / "out"), *few).exception
    assert isinstance(refused, ModelError)
    assert "already quantized" in str(refused)
    assert not (tmp_path / "out").exists()


def test_text_that_is_too_short_is_named_by_its_key(
    tiny_model: Path, tmp_path: Path, few: list[str]
) -> None:
    (tmp_path / "few.txt").write_text("one document\n\nanother document\n")
    path = f"text.path={tmp_path / 'few.txt'}"
    refused = _run(str(tiny_model), str(tmp_path / "out"), path).exception
    assert isinstance(refused, DataError)
    assert "text.num_eval" in str(refused)


def test_tools_are_looked_for_before_anything_is_measured(
    tiny_model: Path, tmp_path: Path, few: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medray.runs import quantise

    monkeypatch.setattr(quantise, "_measured", lambda *_: pytest.fail("it was measured"))
    lacking = f"compressor={sys.executable}"
    done = _run(str(tiny_model), str(tmp_path / "out"), "method=gptq", lacking, *few)
    assert isinstance(done.exception, ModelError)
    assert "pip install llmcompressor" in str(done.exception)


def test_llm_compressor_runs_elsewhere_and_its_absence_says_what_to_do(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    job = QuantiseJob(model="x", out="y", method="gptq", compressor=str(python))
    with pytest.raises(ModelError, match="pip install llmcompressor"):
        require_tools(job)
    python.write_text("#!/bin/sh\necho first >&2; echo 'ValueError: no such layer' >&2; exit 1\n")
    with pytest.raises(ModelError, match="no such layer"):
        compress(job, "x", tmp_path / "out", [[1, 2, 3]])
    with pytest.raises(ValueError, match="remove it with method=4bit"):
        QuantiseJob(model="x", out="y", method="4bit", compressor=str(python))
    with pytest.raises(ValueError, match="awq runs on GPUs only"):
        QuantiseJob(model="x", out="y", method="awq")
