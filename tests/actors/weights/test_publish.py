"""Adapted weights arrive as the learner merges them, however they travel; what no version changes travels once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medray.actors.weights.publish import Form, PublishedWeights, Publisher, arrays, host_array
from medray.config.learner import LearnerConfig
from medray.config.model import LoraConfig, ModelConfig
from medray.config.rollout import EngineConfig
from medray.engines.vllm.engine import VllmEngine
from medray.errors import LogprobMismatchError, MissingTensorError
from medray.learners.probe import make_probe
from medray.learners.scorer import Scorer
from medray.models.checkpoints.export import adapter_parts, named_weights, tied_names
from medray.models.load import PolicyModel, load_policy

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]

MIB = 2**20


def _policy(model: Path, **settings: Any) -> PolicyModel:
    return load_policy(ModelConfig.model_validate({"path": str(model), **settings}))


def _train(policy: PolicyModel, seed: int) -> None:
    """Move whatever is trained."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.trainable():
            if "magnitude" not in name:
                parameter.add_(0.05 * torch.randn_like(parameter))


def _publish(
    publisher: Publisher, policy: PolicyModel, version: int, form: Form
) -> PublishedWeights:
    probe = make_probe(Scorer(policy, config=LearnerConfig()))
    dtype = getattr(torch, policy.config.dtype)
    parts, aliases = adapter_parts(policy), tied_names(policy)
    return publisher.adapted(version, parts, aliases, probe, dtype=dtype, form=form)


@pytest.mark.parametrize("form", ["merged", "factors"])
@pytest.mark.parametrize(
    "settings",
    [
        {"lora": {"rank": 4}},
        {"lora": {"rank": 4, "rslora": True, "targets": ["q_proj"]}},
        {"lora": {"rank": 4, "dora": True}},
        {"lora": {"rank": 4, "modules_to_save": ["embed_tokens"]}},
        {"lora": {"rank": 4}, "dtype": "bfloat16"},
        {"lora": {"rank": 4}, "quantisation": "4bit"},
        {"lora": {"rank": 4}, "quantisation": "8bit"},
    ],
    ids=["lora", "rslora-q", "dora", "embedding", "bfloat16", "4bit", "8bit"],
)
def test_what_arrives_is_what_the_learner_would_merge(
    tiny_model: Path, settings: dict[str, Any], form: Form
) -> None:
    policy, publisher = _policy(tiny_model, **settings), Publisher(1 * MIB)
    for version in (1, 2):
        _train(policy, version)
        published = _publish(publisher, policy, version, form)
        expected = {name: host_array(tensor) for name, tensor in named_weights(policy)}
        expected |= {alias: expected[name] for alias, name in tied_names(policy).items()}
        found = dict(arrays(published, deadline_s=10))
        assert found.keys() == expected.keys() == published.manifest.tensors.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
            info = published.manifest.tensors[name]
            assert (info.shape, info.dtype) == (array.shape, policy.config.dtype)
        less = dict(arrays(published, deadline_s=10, has_kept=True))
        assert less.keys() == expected.keys() - published.kept_names


def test_only_what_a_version_changes_is_put_again(tiny_model: Path) -> None:
    policy, publisher = _policy(tiny_model, lora={"rank": 4}), Publisher(1 * MIB)
    first, second = (_publish(publisher, policy, version, "factors") for version in (1, 2))
    assert first.kept == second.kept
    assert first.bases == second.bases
    assert second.buckets == ()
    assert "model.embed_tokens.weight" in second.kept_names
    assert "lm_head.weight" in second.kept_names


def test_neighbours_that_an_engine_fuses_with_an_adapted_weight_travel_with_it(
    tiny_model: Path,
) -> None:
    policy = _policy(tiny_model, lora={"rank": 4, "targets": ["q_proj"]})
    published = _publish(Publisher(MIB), policy, 1, "factors")
    assert "model.layers.0.self_attn.k_proj.weight" not in published.kept_names
    assert "model.layers.0.mlp.up_proj.weight" in published.kept_names


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> VllmEngine:
    """One real vLLM engine for the module."""
    return VllmEngine(
        ModelConfig(path=str(tiny_model)), EngineConfig(max_num_seqs=4), max_model_len=256
    )


@pytest.mark.parametrize("targets", ["all", ["q_proj", "down_proj"]], ids=["all", "q-down"])
def test_an_engine_serves_what_it_kept_and_what_came(
    engine: VllmEngine, tiny_model: Path, targets: Any
) -> None:
    """Each load is proved by the probe; the second and third bring the changed weights alone."""
    policy = _policy(tiny_model, lora=LoraConfig(rank=4, targets=targets).model_dump())
    publisher = Publisher(MIB)
    forms: list[Form] = ["factors", "factors", "merged"]
    for version, form in enumerate(forms):
        _train(policy, 10 + version)
        published = _publish(publisher, policy, version, form)
        gap = engine.load_weights(
            published.manifest,
            arrays(published, deadline_s=10, has_kept=version > 0),
            tolerance=1e-3,
            kept=published.kept_names if version else frozenset(),
        )
        assert gap < 1e-4
        assert engine.version == version


def test_a_weight_that_is_neither_kept_nor_brought_is_missed(
    engine: VllmEngine, tiny_model: Path
) -> None:
    policy = _policy(tiny_model, lora={"rank": 4})
    published = _publish(Publisher(MIB), policy, 30, "factors")
    brought = arrays(published, deadline_s=10, has_kept=True)
    with pytest.raises(MissingTensorError, match=r"weight sync 30: \d+ tensors missing"):
        engine.load_weights(published.manifest, brought, tolerance=1e-3)


def test_a_stale_kept_weight_fails_the_probe(engine: VllmEngine, tiny_model: Path) -> None:
    other = _policy(tiny_model, lora={"rank": 4})
    with torch.no_grad():
        for name, parameter in other.module.named_parameters():
            if "embed_tokens" in name:
                parameter.mul_(1.5)
    published = _publish(Publisher(MIB), other, 31, "factors")
    brought = arrays(published, deadline_s=10, has_kept=True)
    with pytest.raises(LogprobMismatchError):
        engine.load_weights(published.manifest, brought, tolerance=1e-3, kept=published.kept_names)
