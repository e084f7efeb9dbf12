"""Critic and reward model on the policy's base: the same numbers as models of their own, the tensors held once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medray.config.critic import ValueLossConfig
from medray.config.model import LoraConfig, ModelConfig
from medray.config.optim import OptimConfig
from medray.errors import ModelError
from medray.learners.learner import Learner
from medray.learners.objectives.value import ValueRegression
from medray.learners.scorer import Scorer
from medray.models.adapters.shared_base import critic_on, reward_model_on
from medray.models.checkpoints.checkpoint import save_checkpoint
from medray.models.load import load_policy, load_reward_model
from medray.models.packed import PolicyModel
from medray.types import Continuation, PromptTree, StepTotals
from tests.support.tiny import save_tiny_model
from tests.support.tiny_reward import save_tiny_reward_adapter, save_tiny_reward_model
from tests.support.trees import random_tree

LORA = LoraConfig(rank=4)
TOTALS = StepTotals(12, 3, 2)


def _policy(model: Path) -> PolicyModel:
    return load_policy(ModelConfig(path=str(model), lora=LORA), seed=0)


def _batch() -> list[PromptTree]:
    rng = np.random.default_rng(0)
    trees = [random_tree(rng, 9, [3, 5]), random_tree(rng, 4, [4])]

    def valued(c: Continuation) -> Continuation:
        size = len(c.token_ids)
        columns = {
            "return": rng.normal(0, 1, size).astype(np.float32),
            "old_value": np.zeros(size, dtype=np.float32),
        }
        return Continuation(c.token_ids, c.trained, columns)

    return [PromptTree(t.prompt_ids, tuple(map(valued, t.continuations))) for t in trees]


def _flat(per_tree: list[tuple[np.ndarray, ...]]) -> np.ndarray:
    return np.concatenate([np.atleast_1d(v) for tree in per_tree for v in tree])


def test_a_critic_holds_nothing_of_the_base_itself_and_begins_at_zero(tiny_model: Path) -> None:
    policy = _policy(tiny_model)
    critic = critic_on(policy, LORA, checkpoint=None)
    shared = {p.data_ptr() for p in policy.module.parameters()}
    own = [n for n, p in critic.module.named_parameters() if p.data_ptr() not in shared]
    assert own
    assert all("lora_" in name or name.startswith("score.") for name in own)
    assert {n for n, _ in critic.trainable()} == {
        n for n, p in critic.adapter.named_parameters() if "lora_" in n or ".modules_to_save." in n
    }
    assert not _flat(Scorer(critic).values(_batch())).any()


def test_training_the_critic_leaves_policy_and_reference_as_they_are(
    tiny_model: Path, tmp_path: Path
) -> None:
    policy = _policy(tiny_model)
    scorer = Scorer(policy)
    before = [_flat(scorer.logprobs(_batch(), adapter=on)) for on in (True, False)]
    critic = critic_on(policy, LORA, checkpoint=None)
    learner = Learner(critic, OptimConfig(lr=1e-2), num_optim_steps=4)
    objective = ValueRegression(ValueLossConfig(clip=None))
    losses = []
    for _ in range(4):
        meters = learner.forward_backward(_batch(), objective, TOTALS)
        losses.append(meters.merge(learner.optim_step()).values()["loss/total"])
    assert losses[-1] < 0.9 * losses[0]
    after = [_flat(scorer.logprobs(_batch(), adapter=on)) for on in (True, False)]
    np.testing.assert_array_equal(before, after)
    saved = save_checkpoint(tmp_path, 1, critic, learner.state(), keep_last=1)
    again = critic_on(_policy(tiny_model), LORA, checkpoint=str(saved))
    values = [_flat(Scorer(c).values(_batch())) for c in (critic, again)]
    np.testing.assert_array_equal(*values)


def test_training_the_policy_leaves_the_reward_model_as_it_is(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = save_tiny_reward_adapter(tiny_model, tmp_path / "rm")
    policy = _policy(tiny_model)
    shared = reward_model_on(policy, str(folder))
    separate = load_reward_model(ModelConfig(path=str(folder)), trainable=False, new_head=False)
    expected = _flat(Scorer(separate).scores(_batch()))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(_flat(Scorer(shared).scores(_batch())), expected, atol=1e-5)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.add_(0.1)
    np.testing.assert_allclose(_flat(Scorer(shared).scores(_batch())), expected, atol=1e-5)
    assert not any(p.requires_grad for p in shared.module.parameters())


def test_a_reward_model_that_does_not_fit_says_what_to_do(tiny_model: Path, tmp_path: Path) -> None:
    policy = _policy(tiny_model)
    whole = save_tiny_reward_model(tiny_model, tmp_path / "whole")
    with pytest.raises(ModelError, match=r"roles\.layout=separate"):
        reward_model_on(policy, str(whole))
    other = save_tiny_model(tmp_path / "other", seed=1)
    foreign = save_tiny_reward_adapter(other, tmp_path / "foreign")
    with pytest.raises(ModelError, match=r"differs from the policy's"):
        reward_model_on(policy, str(foreign))
