"""An engine of one's own: logits and the replacement of a tensor, and everything an engine promises follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.rollout import EngineConfig
from medray.data.batches.trees import rollout_tree
from medray.data.rendering.chat import renderer_of
from medray.engines.base import Generated
from medray.engines.dialogue import Dialogues
from medray.engines.kind import EngineStart
from medray.engines.simple import SimpleEngine
from medray.errors import ConfigError, LogprobMismatchError, MissingTensorError
from medray.learners.probe import make_probe
from medray.learners.scorer import Scorer
from medray.models.checkpoints.export import delivered_weights
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


class TransformersEngine(SimpleEngine):
    def __init__(self, start: EngineStart) -> None:
        from transformers import AutoModelForCausalLM

        super().__init__(start)
        self.model = AutoModelForCausalLM.from_pretrained(self.path)

    @torch.inference_mode()
    def logits(self, token_ids: Sequence[int]) -> np.ndarray:
        return self.model(torch.tensor([token_ids])).logits[0].numpy()

    def load(self, name: str, array: np.ndarray) -> None:
        self.model.state_dict()[name].copy_(torch.from_numpy(array.copy()))


class Again:
    """Asks twice, then is content."""

    def __call__(self, record: Record, turns: Sequence[str]) -> str | None:
        return "Again." if len(turns) < 3 else None


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> PolicyModel:
    """The learner's model, moved away from what the engine loads."""
    policy = load_policy(ModelConfig(path=str(tiny_model)))
    torch.manual_seed(5)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
    return policy


@pytest.fixture(scope="module")
def manifest(policy: PolicyModel) -> WeightManifest:
    infos = {name: TensorInfo.of(t) for name, t in delivered_weights(policy)}
    return WeightManifest(7, infos, make_probe(Scorer(policy, config=LearnerConfig())))


def start(model: Path, **changes) -> EngineStart:
    return EngineStart(ModelConfig(path=str(model)), EngineConfig(), 256, **changes)


def arrays(policy: PolicyModel) -> list[tuple[str, np.ndarray]]:
    return [(name, t.detach().numpy()) for name, t in delivered_weights(policy)]


def sampled(engine: SimpleEngine, spec: GenerateSpec, seed: int = 3) -> Generated:
    ids = np.asarray(engine.tokenizer("Which drug?")["input_ids"], dtype=np.int32)
    record = Record("a", ({"role": "user", "content": "Which drug?"},))
    [group] = engine.generate([Prompt(record, ids)], [seed], spec)
    return group


def test_weights_are_verified_and_logprobs_are_the_learners(
    tiny_model: Path, policy: PolicyModel, manifest: WeightManifest
) -> None:
    engine = TransformersEngine(start(tiny_model))
    assert engine.version == -1
    assert engine.load_weights(manifest, arrays(policy), tolerance=1e-3) < 1e-4
    assert engine.version == 7

    spec = GenerateSpec(SamplingContract(temperature=0.7), 3, 12)
    group = sampled(engine, spec)
    assert (group.oldest_version, group.newest_version) == (7, 7)
    assert len({r.token_ids.tobytes() for r in group.responses}) == 3, "one seed a sample"
    prompt = np.asarray(engine.tokenizer("Which drug?")["input_ids"], dtype=np.int32)
    rollout = RolloutGroup(Prompt(Record("a", ()), prompt), group.responses, 7)
    scorer = Scorer(policy, config=LearnerConfig(), temperature=0.7)
    learner = scorer.logprobs([rollout_tree(rollout)])
    for response, logp in zip(group.responses, learner[0], strict=True):
        np.testing.assert_allclose(response.logp, logp, atol=1e-4)


def test_a_stop_that_is_a_special_token_stops(
    tiny_model: Path, policy: PolicyModel, manifest: WeightManifest
) -> None:
    """Decoded text leaves special tokens out, so as text it would never be found."""
    engine = TransformersEngine(start(tiny_model))
    engine.load_weights(manifest, arrays(policy), tolerance=1e-3)
    special = engine.tokenizer.added_tokens_decoder
    number, token = next((n, t) for n, t in special.items() if n not in engine.stops.token_ids)
    spec = GenerateSpec(SamplingContract(), 1, 4, (token.content,))
    assert engine.is_over([5, number], spec)
    assert not engine.is_over([5, number, 5], spec), "only where it ends"
    assert not engine.is_over([5, number], GenerateSpec(SamplingContract(), 1, 4))


@pytest.mark.parametrize("is_wrong", [False, True], ids=["missing", "wrong"])
def test_a_bad_delivery_leaves_the_engine_closed(
    tiny_model: Path, policy: PolicyModel, manifest: WeightManifest, is_wrong: bool
) -> None:
    engine = TransformersEngine(start(tiny_model))
    delivery = arrays(policy)
    delivery = [(name, array * 1.5) for name, array in delivery] if is_wrong else delivery[1:]
    with pytest.raises(LogprobMismatchError if is_wrong else MissingTensorError):
        engine.load_weights(manifest, delivery, tolerance=1e-3)
    assert engine.version == -1


def test_bfloat16_travels_as_its_bits(
    tiny_model: Path, policy: PolicyModel, manifest: WeightManifest
) -> None:
    engine = TransformersEngine(start(tiny_model))
    infos = {n: TensorInfo(info.shape, "bfloat16") for n, info in manifest.tensors.items()}
    halves = [(n, t.detach().bfloat16().view(torch.uint16).numpy()) for n, t in delivered_weights(policy)]  # fmt: skip
    gap = engine.load_weights(WeightManifest(1, infos, manifest.probe), halves, tolerance=0.15)
    assert gap > 0


def test_a_response_ends_at_a_stop_token_or_a_stop_string(tiny_model: Path) -> None:
    engine = TransformersEngine(start(tiny_model))
    greedy = SamplingContract(temperature=0.0)
    [free] = sampled(engine, GenerateSpec(greedy, 1, 8)).responses
    assert (len(free.token_ids), free.finish_reason) == (8, "length")

    engine.stops = engine.stops._replace(token_ids=(int(free.token_ids[2]),))
    [cut] = sampled(engine, GenerateSpec(greedy, 1, 8)).responses
    assert cut.finish_reason == "stop"
    assert cut.token_ids.tolist() == free.token_ids[: len(cut.token_ids)].tolist()
    assert len(cut.token_ids) <= 3

    engine = TransformersEngine(start(tiny_model))
    stop = engine.tokenizer.decode(free.token_ids[:4].tolist())[-1]
    [cut] = sampled(engine, GenerateSpec(greedy, 1, 8, stop=(stop,))).responses
    assert cut.finish_reason == "stop"
    assert stop not in cut.text


def test_what_a_consumer_leaves_is_not_given_to_the_next(tiny_model: Path) -> None:
    engine = TransformersEngine(start(tiny_model))
    spec = GenerateSpec(SamplingContract(), 1, 2)
    ids = np.arange(4, dtype=np.int32)
    prompts = [Prompt(Record(str(i), ()), ids) for i in range(3)]
    left = engine.generate(prompts, [0, 1, 2], spec)
    next(left)
    left.close()
    assert not engine.busy
    assert [done.index for done in engine.generate(prompts[:2], [0, 1], spec)] == [0, 1]


def test_a_dialogue_goes_on_with_what_the_environment_says(tiny_model: Path) -> None:
    engine = TransformersEngine(start(tiny_model))
    dialogues = Dialogues(Again(), renderer_of(engine.tokenizer), max_turns=5)
    engine = TransformersEngine(start(tiny_model, dialogues=dialogues))
    engine.stops = engine.stops._replace(
        token_ids=tuple(range(0, engine.model.config.vocab_size, 2))
    )
    [response] = sampled(engine, GenerateSpec(SamplingContract(), 1, 200)).responses
    assert [m["role"] for m in response.dialogue] == ["assistant", "user"] * 2 + ["assistant"]
    assert response.finish_reason == "stop"
    assert response.sampled is not None
    assert np.all(response.logp[~response.sampled] == 0)


def test_a_direct_transfer_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"sync\.backend=nccl"):
        TransformersEngine(start(tiny_model, backend="nccl"))


def test_an_engine_is_not_complete_without_its_two_methods(tiny_model: Path) -> None:
    class Lacking(SimpleEngine):
        pass

    with pytest.raises(TypeError, match=r"load.*logits"):
        Lacking(start(tiny_model))
