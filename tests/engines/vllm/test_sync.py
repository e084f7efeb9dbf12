"""A weight sync either ends with the engine holding the learner's weights, or fails by name and serves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medray.config.learner import LearnerConfig
from medray.config.model import LoraConfig, ModelConfig
from medray.config.rollout import EngineConfig
from medray.data.batches.trees import rollout_tree
from medray.engines.vllm.engine import VllmEngine
from medray.errors import LogprobMismatchError, MissingTensorError, StaleCacheError
from medray.learners.probe import make_probe
from medray.learners.scorer import Scorer
from medray.models.checkpoints.export import named_weights, tied_names
from medray.models.load import PolicyModel, load_policy
from medray.types import (
    GenerateSpec,
    Prompt,
    Record,
    RolloutGroup,
    SamplingContract,
    TensorInfo,
    WeightManifest,
)

pytestmark = pytest.mark.ray

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> VllmEngine:
    """One real vLLM engine for the module."""
    return VllmEngine(
        ModelConfig(path=str(tiny_model)), EngineConfig(max_num_seqs=16), max_model_len=256
    )


@pytest.fixture
def policy(tiny_model: Path) -> PolicyModel:
    """The learner's model, moved away from what the engine loaded."""
    policy = load_policy(ModelConfig(path=str(tiny_model)))
    torch.manual_seed(5)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
    return policy


def _delivery(
    policy: PolicyModel, version: int
) -> tuple[WeightManifest, list[tuple[str, np.ndarray]]]:
    weights = [(name, tensor.detach().numpy()) for name, tensor in named_weights(policy)]
    arrays = dict(weights)
    weights += [(alias, arrays[name]) for alias, name in tied_names(policy).items()]
    infos = {name: TensorInfo(array.shape, "float32") for name, array in weights}
    return WeightManifest(
        version, infos, make_probe(Scorer(policy, config=LearnerConfig()))
    ), weights


@pytest.mark.parametrize(
    "adapted",
    [
        {"lora": LoraConfig(rank=4)},
        {"lora": LoraConfig(rank=4, rslora=True)},
        {"lora": LoraConfig(rank=4, dora=True)},
        {"lora": LoraConfig(rank=4), "quantisation": "4bit"},
        {"lora": LoraConfig(rank=4), "quantisation": "8bit"},
    ],
    ids=["lora", "rslora", "dora", "4bit", "8bit"],
)
def test_adapters_arrive_merged(
    engine: VllmEngine, tiny_model: Path, adapted: dict[str, Any]
) -> None:
    """What the engine serves is the base and its trained adapter, whatever the base is stored in."""
    policy = load_policy(ModelConfig(path=str(tiny_model), **adapted))
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in policy.trainable():
            if "lora_" in name and "magnitude" not in name:
                parameter.copy_(0.1 * torch.randn_like(parameter))
    manifest, weights = _delivery(policy, 20)
    # An 8-bit forward also rounds activations, which no merged weight can show.
    tolerance = 0.2 if adapted.get("quantisation") == "8bit" else TOLERANCE
    assert engine.load_weights(manifest, weights, tolerance=tolerance) < tolerance


@pytest.fixture
def stale_cache(engine: VllmEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An engine whose cache reset was forgotten."""
    monkeypatch.setattr(engine, "_reset_cache", lambda: None)
    return


def test_sync_makes_engine_and_learner_agree(engine: VllmEngine, policy: PolicyModel) -> None:
    manifest, weights = _delivery(policy, 7)
    assert engine.load_weights(manifest, weights, tolerance=TOLERANCE) < 1e-4
    assert engine.version == 7


def test_tied_head_is_in_the_delivery(policy: PolicyModel) -> None:
    manifest, _ = _delivery(policy, 1)
    assert "lm_head.weight" in manifest.tensors


@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.1.self_attn.k_proj.weight"])
def test_dropped_tensor_is_named_and_nothing_is_served(
    engine: VllmEngine, policy: PolicyModel, name: str
) -> None:
    manifest, weights = _delivery(policy, 8)
    with pytest.raises(MissingTensorError, match=name):
        engine.load_weights(manifest, [w for w in weights if w[0] != name], tolerance=TOLERANCE)
    assert engine.version == -1
    assert engine.load_weights(manifest, weights, tolerance=TOLERANCE) < 1e-4, (
        "a whole delivery mends it"
    )


def test_a_manifest_that_forgets_the_tied_head_fails_the_probe(
    engine: VllmEngine, policy: PolicyModel
) -> None:
    manifest, weights = _delivery(policy, 9)
    promised = {n: i for n, i in manifest.tensors.items() if n != "lm_head.weight"}
    forgetful = WeightManifest(9, promised, manifest.probe)
    original = load_policy(ModelConfig(path=policy.config.path))
    engine.load_weights(*_delivery(original, 0), tolerance=TOLERANCE)
    with pytest.raises(LogprobMismatchError, match="differ by"):
        engine.load_weights(
            forgetful, [w for w in weights if w[0] != "lm_head.weight"], tolerance=TOLERANCE
        )


def test_wrong_shape_is_named(engine: VllmEngine, policy: PolicyModel) -> None:
    manifest, weights = _delivery(policy, 10)
    broken = [(n, a[:-1] if n == "model.norm.weight" else a) for n, a in weights]
    with pytest.raises(
        MissingTensorError, match=r"model\.norm\.weight has shape \(63,\), expected \(64,\)"
    ):
        engine.load_weights(manifest, broken, tolerance=TOLERANCE)


@pytest.mark.usefixtures("stale_cache")
def test_stale_cache_is_caught_by_name(engine: VllmEngine, policy: PolicyModel) -> None:
    with pytest.raises(StaleCacheError, match="older weights"):
        engine.load_weights(*_delivery(policy, 11), tolerance=TOLERANCE)
    assert engine.version == -1


def _prompts(count: int) -> list[Prompt]:
    rng = np.random.default_rng(0)
    shared = rng.integers(3, 300, 70)
    return [
        Prompt(Record(str(i), ()), np.append(shared, rng.integers(3, 300, 5)).astype(np.int32))
        for i in range(count)
    ]


def _sample(engine: VllmEngine, prompts: list[Prompt], spec: GenerateSpec) -> dict[str, Any]:
    done = engine.generate(prompts, [100 + int(p.record.id) for p in prompts], spec)
    return {prompts[g.index].record.id: g for g in done}


def test_rollouts_carry_the_learners_logprobs_at_the_sampling_temperature(
    engine: VllmEngine, policy: PolicyModel
) -> None:
    engine.load_weights(*_delivery(policy, 12), tolerance=TOLERANCE)
    spec = GenerateSpec(SamplingContract(temperature=0.7), 4, 12)
    prompts = _prompts(3)
    scorer = Scorer(policy, temperature=0.7)
    for name, group in _sample(engine, prompts, spec).items():
        assert len(group.responses) == 4
        tree = rollout_tree(RolloutGroup(prompts[int(name)], group.responses, 12))
        for scored, response in zip(scorer.logprobs([tree])[0], group.responses, strict=True):
            np.testing.assert_allclose(scored, response.logp, atol=1e-4)


def test_seeded_samples_do_not_depend_on_the_company(
    engine: VllmEngine, policy: PolicyModel
) -> None:
    """A prompt gets the same tokens alone and among others: so the number of workers does not matter."""
    engine.load_weights(*_delivery(policy, 13), tolerance=TOLERANCE)
    spec = GenerateSpec(SamplingContract(), 3, 10)
    prompts = _prompts(4)
    together = _sample(engine, prompts, spec)
    for prompt in prompts:
        alone = _sample(engine, [prompt], spec)[prompt.record.id]
        for a, b in zip(alone.responses, together[prompt.record.id].responses, strict=True):
            assert a.token_ids.tolist() == b.token_ids.tolist()
    tokens = {tuple(r.token_ids.tolist()) for r in together["0"].responses}
    assert len(tokens) == 3, "samples of one prompt differ"


def test_a_groups_prompt_is_computed_once(engine: VllmEngine, policy: PolicyModel) -> None:
    engine.load_weights(*_delivery(policy, 14), tolerance=TOLERANCE)
    [group] = _sample(engine, _prompts(1), GenerateSpec(SamplingContract(), 4, 4)).values()
    assert group.num_cached_tokens > 0


def test_stop_token_ends_a_response_and_is_part_of_it(
    engine: VllmEngine, policy: PolicyModel
) -> None:
    """With the stop token's logit far above all others, every response is that one token."""
    with torch.no_grad():
        policy.module.model.norm.weight.fill_(1.0)
        policy.module.get_input_embeddings().weight[2] = 0
    engine.load_weights(*_delivery(policy, 15), tolerance=TOLERANCE)
    spec = GenerateSpec(SamplingContract(), 8, 64)
    responses = [r for g in _sample(engine, _prompts(4), spec).values() for r in g.responses]
    for response in responses:
        stopped = int(response.token_ids[-1]) == 2
        assert (response.finish_reason == "stop") == stopped
        assert len(response.token_ids) == len(response.logp) <= 64
    assert any(r.finish_reason == "stop" for r in responses)


def test_more_prompt_tokens_than_one_batch_holds(engine: VllmEngine, policy: PolicyModel) -> None:
    """Prompts wait for room in a batch; none is cut, which would break seeded sampling on a CPU."""
    engine.load_weights(*_delivery(policy, 30), tolerance=TOLERANCE)
    rng = np.random.default_rng(3)
    prompts = [
        Prompt(Record(str(i), ()), rng.integers(3, 300, 250).astype(np.int32)) for i in range(40)
    ]
    done = _sample(engine, prompts, GenerateSpec(SamplingContract(), 1, 4))
    assert len(done) == 40
