"""Scaled rotary embeddings: the frequencies are those of the papers, and texts stay independent in a row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from medray.config.model import ModelConfig, RopeConfig
from medray.data.batches.packing import build_row
from medray.errors import ModelError
from medray.learners.scorer import Scorer
from medray.models.load import load_policy
from medray.types import Continuation, PromptTree
from tests.support.families import save_family


def _frequencies(model: Path, rope: RopeConfig | None) -> torch.Tensor:
    policy = load_policy(ModelConfig(path=str(model), rope=rope))
    return policy.trunk.rotary_emb.inv_freq


def test_linear_divides_every_frequency(tiny_model: Path) -> None:
    scaled = _frequencies(tiny_model, RopeConfig(kind="linear", factor=4))
    torch.testing.assert_close(scaled, _frequencies(tiny_model, None) / 4)


@pytest.mark.parametrize("kind", ["yarn", "llama3"])
def test_slow_frequencies_are_divided_and_fast_ones_kept(tiny_model: Path, kind: str) -> None:
    rope = RopeConfig(kind=kind, factor=4, original_tokens=64)  # type: ignore[arg-type]
    ratio = _frequencies(tiny_model, None) / _frequencies(tiny_model, rope)
    assert float(ratio[0]) == pytest.approx(1)
    assert float(ratio[-1]) == pytest.approx(4, rel=1e-4)
    assert torch.all(ratio[1:] >= ratio[:-1] - 1e-6)


def test_the_saved_model_keeps_the_longer_context(tiny_model: Path, tmp_path: Path) -> None:
    policy = load_policy(
        ModelConfig(
            path=str(tiny_model), rope=RopeConfig(kind="yarn", factor=4, original_tokens=512)
        )
    )
    policy.module.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.max_position_embeddings == 2048
    assert config.rope_parameters["rope_type"] == "yarn"
    assert config.rope_parameters["original_max_position_embeddings"] == 512


def test_only_layers_without_a_window_are_scaled(tiny_model: Path, tmp_path: Path) -> None:
    save_family(tmp_path / "gemma3", "gemma3_text", tiny_model)
    policy = load_policy(
        ModelConfig(path=str(tmp_path / "gemma3"), rope=RopeConfig(kind="linear", factor=8))
    )
    kinds = policy.module.config.rope_parameters
    assert kinds["full_attention"]["factor"] == 8
    assert kinds["sliding_attention"]["rope_type"] == "default"


def test_an_architecture_without_rotary_embeddings_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    save_family(tmp_path / "gpt2", "gpt2", tiny_model)
    config = ModelConfig(path=str(tmp_path / "gpt2"), rope=RopeConfig(kind="linear", factor=2))
    with pytest.raises(ModelError, match="no rotary"):
        load_policy(config)


def test_a_long_text_does_not_change_its_neighbour(tiny_model: Path, tmp_path: Path) -> None:
    """Dynamic scaling grows with the longest text computed together: such rows are computed one by one."""
    config = AutoConfig.from_pretrained(tiny_model)
    config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    config.max_position_embeddings = 32
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    policy = load_policy(ModelConfig(path=str(tmp_path)))
    assert policy.sharing == "tree"
    rng = np.random.default_rng(0)

    def tree(prompt: int, size: int) -> PromptTree:
        ids = rng.integers(3, 300, prompt + size).astype(np.int32)
        return PromptTree(ids[:prompt], (Continuation(ids[prompt:], np.ones(size, np.bool_)),))

    short, long = tree(5, 9), tree(30, 60)
    scorer = Scorer(policy)
    alone = scorer.token_logp(build_row([short]))
    beside = scorer.token_logp(build_row([long, short]))[60:]
    torch.testing.assert_close(beside, alone)
    policy._rope_limit = None
    assert (scorer.token_logp(build_row([long, short]))[60:] - alone).abs().max() > 1e-3


LIMIT = 32
GROWING = {
    "dynamic": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
    "longrope": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "original_max_position_embeddings": LIMIT,
        "short_factor": [1.0] * 16,
        "long_factor": [1.5] * 16,
    },
}


@pytest.mark.parametrize("kind", GROWING)
def test_frequencies_are_those_of_the_text_alone(
    tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    """Independent of what was scored before, and of tokens at the end that a row leaves out."""
    config = AutoConfig.from_pretrained(tiny_model)
    config.rope_parameters = GROWING[kind]
    config.max_position_embeddings = LIMIT if kind == "dynamic" else 4 * LIMIT
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    scorer = Scorer(load_policy(ModelConfig(path=str(tmp_path))))
    rng = np.random.default_rng(1)
    for length in (LIMIT - 1, 3 * LIMIT, LIMIT, 2 * LIMIT, LIMIT + 1, LIMIT - 2, LIMIT + 2):
        ids = rng.integers(3, 300, length).astype(np.int32)
        trained = np.ones(length - 4, np.bool_)
        trained[-2:] = length % 2 == 0  # an end that is not trained belongs to the text, too
        tree = PromptTree(ids[:4], (Continuation(ids[4:], trained),))
        fresh = AutoModelForCausalLM.from_pretrained(tmp_path)
        with torch.no_grad():
            logp = fresh(torch.tensor(ids[None], dtype=torch.long)).logits[0].log_softmax(-1)
        expected = logp[torch.arange(3, length - 1), torch.tensor(ids[4:], dtype=torch.long)]
        found = scorer.token_logp(build_row([tree]))
        torch.testing.assert_close(found, expected[torch.tensor(trained)], atol=2e-5, rtol=1e-5)
