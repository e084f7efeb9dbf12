"""What `medray merge` and `medray quantise` write, loaded by transformers and by vLLM: both say the same."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from medray.config.generate import GenerateJob
from medray.config.model import LoraConfig, ModelConfig
from medray.config.quantise import QuantiseJob
from medray.models.adapters.merge import merge_adapter
from medray.models.load import load_policy, load_reward_model
from medray.models.quantisation.quantise import write_quantised
from medray.models.quantisation.quantised import PLUGIN
from medray.models.served import find_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Ends with a whole character: else vLLM decodes its last bytes anew.
PROMPT = [1, 40, 7, 99, 12, 3, 60]
COMPRESSOR = os.environ.get("MEDRAY_COMPRESSOR")
needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec(PLUGIN) is None, reason="needs constraints/bitsandbytes.txt"
)
needs_compressor = pytest.mark.skipif(
    COMPRESSOR is None, reason="MEDRAY_COMPRESSOR names no Python with llm-compressor"
)


def _move(model: Any) -> None:
    torch.manual_seed(5)
    with torch.no_grad():
        for _, parameter in model.trainable():
            parameter.add_(0.05 * torch.randn_like(parameter))


def _merged_resized(tiny_model: Path, folder: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_tokens([f"<new{i}>" for i in range(80)])
    tokenizer.save_pretrained(folder / "tokenizer")
    lora = LoraConfig(rank=4, modules_to_save=("embeddings",))
    policy = load_policy(
        ModelConfig(path=str(tiny_model), tokenizer=str(folder / "tokenizer"), lora=lora)
    )
    _move(policy)
    policy.adapter.save_pretrained(folder / "adapter")
    policy.tokenizer.save_pretrained(folder / "adapter")
    return merge_adapter(folder / "adapter", folder / "out")


def _quantised(method: str) -> Callable[[Path, Path], Path]:
    def write(tiny_model: Path, folder: Path) -> Path:
        compressor = COMPRESSOR if method in ("gptq", "fp8") else None
        job = QuantiseJob(
            model=str(tiny_model), out=str(folder / "out"), method=method, compressor=compressor  # type: ignore[arg-type]
        )  # fmt: skip
        rng = np.random.default_rng(0)
        calibration = rng.integers(3, 259, size=(16, 48)).tolist()
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        return write_quantised(job, tiny_model, tokenizer, calibration)

    return write


@pytest.mark.parametrize(
    "write",
    [
        # First, for a process loads vLLM's plug-ins once, those that its first model needs.
        pytest.param(_quantised("4bit"), id="4bit", marks=needs_plugin),
        pytest.param(_quantised("8bit"), id="8bit", marks=needs_plugin),
        pytest.param(_merged_resized, id="merged with a larger vocabulary"),
        pytest.param(_quantised("gptq"), id="gptq", marks=needs_compressor),
        pytest.param(_quantised("fp8"), id="fp8", marks=needs_compressor),
    ],
)
def test_language_model(
    tiny_model: Path, tmp_path: Path, write: Callable[[Path, Path], Path]
) -> None:
    from medray.engines.base import Order
    from medray.engines.vllm.batch import VllmBatch

    out = write(tiny_model, tmp_path)
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(out)(torch.tensor([PROMPT])).logits[0, -1]
    job = GenerateJob.model_validate(
        {
            "model": str(out),
            "input": "x.jsonl",
            "output": "y.jsonl",
            "max_model_len": 128,
            "sampling": {"max_new_tokens": 8},
        }
    )
    engine = VllmBatch(job, find_model(str(out)))
    ((answer,),) = engine.generate([Order(0, np.array(PROMPT, dtype=np.int32))])
    best = AutoTokenizer.from_pretrained(out).batch_decode(logits.topk(3).indices[:, None])
    # bfloat16 in the engine may swap two that are as likely as each other
    assert any(answer.text.startswith(text) for text in best), (answer.text, best)
    del engine
    gc.collect()


def test_reward_model(tiny_model: Path, tmp_path: Path) -> None:
    model = load_reward_model(ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4)))
    _move(model)
    model.adapter.save_pretrained(tmp_path / "adapter")
    model.tokenizer.save_pretrained(tmp_path / "adapter")
    out = merge_adapter(tmp_path / "adapter", tmp_path / "out")
    with torch.no_grad():
        score = AutoModelForSequenceClassification.from_pretrained(out)(
            torch.tensor([PROMPT])
        ).logits.item()
    from medray.config.rollout import EngineConfig
    from medray.engines.vllm.engine import prepare_environment

    prepare_environment(EngineConfig(), device="cpu", threads=2)
    from vllm import LLM, PoolingParams

    llm = LLM(
        str(out), runner="pooling", dtype="float32", enforce_eager=True, max_model_len=128
    )  # fmt: skip
    (result,) = llm.classify(
        [{"prompt_token_ids": PROMPT}], pooling_params=PoolingParams(use_activation=False),
        use_tqdm=False,
    )  # fmt: skip
    assert result.outputs.probs[0] == pytest.approx(score, abs=1e-4)
