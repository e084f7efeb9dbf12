"""Every strategy at two ranks takes the steps of one process, and its checkpoints are everybody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from transformers import AutoModelForCausalLM

from medray.observability.meters import Meters
from medray.storage.run_folder import checkpoints
from tests.support.strategies import (
    NUM_STEPS,
    PPO_LAYOUTS,
    RESUMED,
    SCENARIOS,
    STRATEGIES,
    Outcome,
    half,
    has_layout,
    learner_config,
    run_rank,
    train,
    train_ppo,
)
from tests.support.tiny import save_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

Tensors = dict[str, torch.Tensor]
ALONE = learner_config("single")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, and whatever the ranks leave."""
    path = tmp_path_factory.mktemp("strategies")
    for name, tied in (("tied", True), ("untied", False)):
        save_tiny_model(path / name, tied=tied)
    return path


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Outcome]:
    """What one process computes."""
    for name in RESUMED:
        scenario = SCENARIOS[name]
        half(scenario.learner(folder, ALONE, 1), scenario, folder / f"alone.{name}.half", 0, 1)
    outcomes = {name: train_ppo(folder, ALONE, name, 0, 1) for name in PPO_LAYOUTS}
    return outcomes | {
        name: train(s.learner(folder, ALONE, 1), s, range(NUM_STEPS), 0, 1)
        for name, s in SCENARIOS.items()
    }


@pytest.fixture(scope="module")
def together(folder: Path, alone: Any) -> dict[str, list[dict[str, Outcome]]]:
    """What the two ranks of every strategy computed."""
    mp.spawn(run_rank, args=(2, str(folder)), nprocs=2)
    return {
        name: [torch.load(folder / f"{name}.{rank}.pt", weights_only=False) for rank in range(2)]
        for name in STRATEGIES
    }


@pytest.mark.parametrize("name", [*SCENARIOS, *PPO_LAYOUTS])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks_take_the_steps_of_one(
    alone: dict[str, Outcome], together: Any, strategy: str, name: str
) -> None:
    if name in PPO_LAYOUTS and not has_layout(strategy, name):
        pytest.skip(f"{strategy} splits the base")
    found = [outcomes[name] for outcomes in together[strategy]]
    assert alone[name].steps[-1].values()["optim/grad_norm"] > 0.5  # clipping is part of it
    _assert_same(found, alone[name], range(NUM_STEPS))


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(
    together: Any, strategy: str, name: str
) -> None:
    for outcomes in together[strategy]:
        resumed, undisturbed = outcomes[f"{name} from its own"], outcomes[name]
        for part in ("weights", "state"):
            before, after = getattr(undisturbed, part), getattr(resumed, part)
            assert before.keys() == after.keys()
            assert all(torch.equal(value, after[key]) for key, value in before.items())
        steps = [m.values() for m in undisturbed.steps[NUM_STEPS // 2 :]]
        assert [m.values() for m in resumed.steps] == steps


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_process_and_ranks_go_on_from_each_others_checkpoints(
    folder: Path, alone: dict[str, Outcome], together: Any, strategy: str, name: str
) -> None:
    rest = range(NUM_STEPS // 2, NUM_STEPS)
    found = [outcomes[f"{name} from one process"] for outcomes in together[strategy]]
    _assert_same(found, alone[name], rest)
    [checkpoint] = checkpoints(folder / f"{strategy}.{name}.half")
    learner = SCENARIOS[name].learner(folder, ALONE, 1, checkpoint)
    _assert_same([train(learner, SCENARIOS[name], rest, 0, 1)], alone[name], rest)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_checkpoints_are_hugging_face_folders(folder: Path, together: Any, strategy: str) -> None:
    for name in ("grpo", "sft-untied"):
        [checkpoint] = checkpoints(folder / f"{strategy}.{name}")
        module, report = AutoModelForCausalLM.from_pretrained(checkpoint, output_loading_info=True)
        assert not any(report.values())
        exported = together[strategy][0][name].weights
        assert all(torch.equal(exported[n], p) for n, p in module.named_parameters())


def _assert_same(found: list[Outcome], expected: Outcome, steps: range) -> None:
    for i, meters in enumerate(expected.steps[steps.start :]):
        merged = Meters.merged(outcome.steps[i] for outcome in found).values()
        assert merged.keys() == meters.values().keys()
        for key, value in meters.values().items():
            assert merged[key] == pytest.approx(value, rel=1e-5, abs=2e-6), (i, key)
    for outcome in found:
        _assert_close(outcome.weights, expected.weights)
        _assert_close(_without_rng(outcome.state), _without_rng(expected.state))
        for scored, wanted in zip(outcome.scores, expected.scores, strict=False):
            for a, b in zip(scored, wanted, strict=True):
                assert a == pytest.approx(b, rel=1e-4, abs=1e-4)


def _assert_close(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        distance = float((found[name] - value).norm())
        assert distance <= 1e-4 * float(value.norm()), name


def _without_rng(state: Tensors) -> Tensors:
    return {name: value for name, value in state.items() if not name.startswith("rng")}
