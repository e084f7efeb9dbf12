"""A teacher in vLLM against a plain forward pass of the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from medray.config.model import ModelConfig
from medray.config.policy import DistillConfig
from medray.config.rollout import EngineConfig
from medray.engines.vllm.teacher import VllmTeacher
from medray.errors import ModelError
from medray.types import Prompt, Record, Response, RolloutGroup

pytestmark = pytest.mark.ray

TOP = 5


def _response(size: int, seed: int, sampled: np.ndarray | None = None) -> Response:
    ids = np.random.default_rng(seed).integers(5, 60, size).astype(np.int32)
    return Response(ids, np.zeros(size, np.float32), "", "length", sampled=sampled)


def _engine(path: Path, max_tokens: int = 64) -> VllmTeacher:
    config = DistillConfig(teacher=ModelConfig(path=str(path)), engine="vllm", top=TOP)
    return VllmTeacher(
        config, EngineConfig(kv_cache_gb=1, max_num_seqs=4), max_tokens=max_tokens, threads=1
    )


def test_the_likeliest_tokens_are_those_of_a_plain_forward(tiny_model: Path) -> None:
    heard = np.array([True, True, False, False, True, True])
    prompt = np.arange(10, 30, dtype=np.int32)
    group = RolloutGroup(
        Prompt(Record("1", ()), prompt), (_response(9, 0), _response(6, 1, heard)), 0
    )
    taught = _engine(tiny_model).top_tokens(group)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    for response, known in zip(group.responses, taught, strict=True):
        ids = torch.as_tensor(np.concatenate([prompt, response.token_ids]), dtype=torch.long)
        with torch.no_grad():
            logp = model(input_ids=ids[None]).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
        if response.sampled is not None:
            logp = logp[torch.from_numpy(response.sampled)]
        expected = logp.topk(TOP)
        assert known.ids.shape == known.logp.shape == (response.num_sampled, TOP)
        np.testing.assert_array_equal(known.ids, expected.indices.numpy())
        np.testing.assert_allclose(known.logp, expected.values.numpy(), atol=1e-4)


def test_too_few_positions_are_said_before_anything_is_loaded(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="positions, and a prompt with its response"):
        _engine(tiny_model, max_tokens=10**6)
