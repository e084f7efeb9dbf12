"""Every family of docs/MODELS.md: how it shares prompts, and that it trains with adapters placed by themselves."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from medray.config.dpo import PreferenceConfig
from medray.config.model import LoraConfig, ModelConfig
from medray.config.optim import OptimConfig
from medray.config.sft import CrossEntropyConfig
from medray.learners.learner import Learner
from medray.learners.objectives.registry import build_objective
from medray.learners.reference import with_reference
from medray.models.load import load_policy
from medray.models.packed import PolicyModel
from medray.types import PromptTree
from tests.support.families import FAMILIES, save_family
from tests.support.objectives import dialogues, pairs
from tests.support.vllm_families import ROW, support_apart

TABLE = Path(__file__).parents[2] / "docs" / "MODELS.md"
CORE = {
    "llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma", "gemma2", "phi3", "glm", "glm4", "deepseek_v3", "cohere",
    "olmo2", "granite", "starcoder2", "gpt_oss", "gptj", "qwen3_next", "mamba2",
}  # fmt: skip
"""The others are of the same kinds and run with the slow tests."""
every_family = pytest.mark.parametrize(
    "name",
    [name if name in CORE else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
SHARING = {"tree": "blocks", "dense": "mask", "plain": "no"}


def _table() -> dict[str, tuple[str, str]]:
    """Family -> (how prompts are shared, reward model) as documented."""
    rows = re.findall(
        r"^\| `([\w-]+)` \| [^|]* \| (\w+) \| (\w+) \|", TABLE.read_text(encoding="utf-8"), re.M
    )
    return {name: (sharing, reward) for name, sharing, reward in rows}


def _plain_logprobs(policy: PolicyModel, tree: PromptTree) -> list[np.ndarray]:
    """Each continuation after its own prompt, through transformers' own forward pass."""
    found = []
    for c in tree.continuations:
        ids = torch.from_numpy(np.concatenate([tree.prompt_ids, c.token_ids]).astype(np.int64))
        with torch.no_grad():
            logits = policy.module(input_ids=ids[None], use_cache=False).logits[0]
        logp = logits[:-1].float().log_softmax(-1).gather(1, ids[1:, None])[:, 0].numpy()
        start = len(tree.prompt_ids) - 1
        at = start + np.flatnonzero(c.trained)
        found.append(logp[at])
    return found


def test_the_table_names_every_family() -> None:
    assert _table().keys() == FAMILIES.keys()


@every_family
def test_family(tiny_model: Path, tmp_path: Path, name: str) -> None:
    folder = str(save_family(tmp_path, name, tiny_model))
    policy = load_policy(ModelConfig(path=folder, lora=LoraConfig(rank=4)), seed=1)
    assert SHARING[policy.sharing] == _table()[name][0]
    learner = Learner(policy, OptimConfig(lr=2e-2), num_optim_steps=10)

    texts = dialogues(0)
    sft = build_objective("sft", CrossEntropyConfig())
    losses = [learner.train_step(texts, sft).values()["loss/total"] for _ in range(2)]
    assert learner.evaluate(texts, sft).values()["loss/total"] < losses[0]

    scored = with_reference(pairs(0), learner.scorer, adapter=False)
    dpo = build_objective("dpo", PreferenceConfig())
    losses = [learner.train_step(scored, dpo).values()["loss/total"] for _ in range(2)]
    assert all(math.isfinite(loss) for loss in losses)
    assert learner.evaluate(scored, dpo).values()["loss/total"] < losses[0]

    shared = learner.scorer.logprobs(scored)
    oracle = load_policy(ModelConfig(path=folder, lora=LoraConfig(rank=4), attention="plain"))
    trained = dict(policy.trainable())
    with torch.no_grad():
        for parameter_name, parameter in oracle.trainable():
            parameter.copy_(trained[parameter_name])
    for tree, found in zip(scored, shared, strict=True):
        for logp, expected in zip(found, _plain_logprobs(oracle, tree), strict=True):
            np.testing.assert_allclose(logp, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_vllm_loads_what_the_table_says(name: str, tiny_model: Path) -> None:
    found, why = support_apart(name, tiny_model)
    documented = {m[2]: m[3] for m in ROW.finditer(TABLE.read_text(encoding="utf-8"))}
    assert found == documented[name], why


@pytest.mark.parametrize("name", FAMILIES)
def test_reward_models_are_where_transformers_has_a_classifier(name: str) -> None:
    config = type(AutoConfig.for_model(name.partition("-")[0]))
    has_head = config in AutoModelForSequenceClassification._model_mapping
    assert _table()[name][1] == ("yes" if has_head else "no")
