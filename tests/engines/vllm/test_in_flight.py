"""Weights that change in the middle of a response: it goes on, and says which token came from which version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.rollout import EngineConfig
from medray.data.batches.trees import rollout_tree
from medray.engines.base import Generated
from medray.engines.vllm.engine import VllmEngine
from medray.errors import LogprobMismatchError
from medray.learners.scorer import Scorer
from medray.models.load import PolicyModel, load_policy
from medray.types import GenerateSpec, Prompt, Record, RolloutGroup, SamplingContract
from tests.engines.vllm.test_sync import _delivery, _prompts

pytestmark = pytest.mark.ray

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> VllmEngine:
    """One real vLLM engine for the module."""
    return VllmEngine(
        ModelConfig(path=str(tiny_model)), EngineConfig(max_num_seqs=16), max_model_len=256
    )


def _policy(tiny_model: Path, seed: int) -> PolicyModel:
    policy = load_policy(ModelConfig(path=str(tiny_model)))
    torch.manual_seed(seed)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
    return policy


def _finish(engine: VllmEngine) -> dict[int, Generated]:
    done: dict[int, Generated] = {}
    while engine.busy:
        done |= {g.index: g for g in engine.step()}
    return done


def _logps(policy: PolicyModel, prompt: Prompt, group: Generated) -> list[np.ndarray]:
    scorer = Scorer(policy, temperature=0.8, config=LearnerConfig())
    tree = rollout_tree(RolloutGroup(prompt, group.responses, 0))
    return [np.asarray(row) for row in scorer.logprobs([tree])[0]]


def test_every_token_has_the_logprob_of_the_version_that_drew_it(
    engine: VllmEngine, tiny_model: Path
) -> None:
    policies = {version: _policy(tiny_model, version) for version in (1, 2, 3)}
    engine.load_weights(*_delivery(policies[1], 1), tolerance=TOLERANCE)
    prompts, spec = _prompts(6), GenerateSpec(SamplingContract(temperature=0.8), 4, 24)
    for i, prompt in enumerate(prompts):  # 24 responses for 16 seats: some begin later
        engine.submit(i, prompt, 100 * i, spec)
    done: dict[int, Generated] = {}
    untouched: dict[int, set[int]] = {}
    for version in (2, 3):
        for _ in range(9):
            done |= {g.index: g for g in engine.step()}
        assert (
            engine.load_weights(*_delivery(policies[version], version), tolerance=TOLERANCE) < 1e-4
        )
        untouched[version] = set(engine.untouched())
    done |= _finish(engine)
    assert sorted(done) == list(range(6))
    assert untouched[2]
    assert untouched[2] == {i for i, group in done.items() if group.oldest_version >= 2}
    assert untouched[3] == {i for i, group in done.items() if group.oldest_version >= 3}
    seen = set()
    for i, group in done.items():
        expected = {v: _logps(policy, prompts[i], group) for v, policy in policies.items()}
        for g, response in enumerate(group.responses):
            size = len(response.token_ids)
            versions = response.versions
            if versions is None:
                versions = np.full(size, group.newest_version, dtype=np.int32)
            assert (np.diff(versions) >= 0).all()
            assert group.oldest_version <= versions[0] <= versions[-1] <= group.newest_version
            want = np.array([expected[int(v)][g][t] for t, v in enumerate(versions)])
            np.testing.assert_allclose(response.logp, want, atol=1e-4)
            assert size == 24 or response.finish_reason == "stop"
            seen.add((int(versions[0]), int(versions[-1])))
    assert (1, 3) in seen, "a response lived through both updates"
    assert len(seen) > 1


def test_a_failed_update_leaves_what_was_under_way_to_the_next(
    engine: VllmEngine, tiny_model: Path
) -> None:
    engine.load_weights(*_delivery(_policy(tiny_model, 1), 1), tolerance=TOLERANCE)
    engine.submit(0, _prompts(1)[0], 5, GenerateSpec(SamplingContract(), 4, 12))
    for _ in range(4):
        engine.step()
    manifest, _ = _delivery(_policy(tiny_model, 2), 2)
    _, wrong = _delivery(_policy(tiny_model, 3), 2)
    with pytest.raises(LogprobMismatchError):
        engine.load_weights(manifest, wrong, tolerance=TOLERANCE)
    assert engine.version == -1
    assert not engine.busy, "nothing is sampled under weights that were not proved"
    engine.load_weights(*_delivery(_policy(tiny_model, 2), 2), tolerance=TOLERANCE)
    [group] = _finish(engine).values()
    assert all(len(r.token_ids) == 12 or r.finish_reason == "stop" for r in group.responses)


@pytest.mark.parametrize("cut_after", [5, 6, 7, 8])
def test_a_stop_string_is_found_across_a_cut(
    engine: VllmEngine, tiny_model: Path, cut_after: int
) -> None:
    policy = _policy(tiny_model, 4)
    engine.load_weights(*_delivery(policy, 1), tolerance=TOLERANCE)
    prompt = Prompt(Record("0", ()), np.arange(40, 60, dtype=np.int32))
    greedy = SamplingContract(temperature=0.0)
    [whole] = engine.generate([prompt], [0], GenerateSpec(greedy, 1, 16))
    tokenizer = engine._engine.get_tokenizer()
    stop = tokenizer.decode(list(whole.responses[0].token_ids[5:8]))
    spec = GenerateSpec(greedy, 1, 16, (stop,))
    [uncut] = engine.generate([prompt], [0], spec)
    engine.submit(0, prompt, 0, spec)
    done: list[Generated] = []
    for _ in range(cut_after):
        done += engine.step()
    engine.load_weights(*_delivery(policy, 2), tolerance=TOLERANCE)
    [cut] = [*done, *_finish(engine).values()]
    assert cut.responses[0].token_ids.tolist() == uncut.responses[0].token_ids.tolist()
    assert cut.responses[0].text == uncut.responses[0].text
    assert cut.responses[0].finish_reason == uncut.responses[0].finish_reason == "stop"
