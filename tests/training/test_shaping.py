"""Rewards before PPO trains on them: running normalisation, bounds, and a state that can be saved."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.config.ppo import PpoConfig, PpoJob, ShapingConfig
from medray.observability.meters import Meters
from medray.training.ppo_batch import PpoBatch, minibatch_indices, update_on
from medray.training.sampling import train_spec
from medray.training.shaping import RewardShaper
from medray.types import Prompt, Record
from tests.support.fake_workers import FakeWorkers

batches = st.lists(
    st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=3), min_size=1, max_size=4),
    min_size=2,
    max_size=4,
)


def test_golden() -> None:
    """First 1, 3: mean 2, deviation sqrt(2), so -+1 / sqrt(2). Then 8 as well: mean 4, sqrt(13), so 4 / sqrt(13)."""
    shaper = RewardShaper(ShapingConfig(normalise="standardise"))
    first = shaper([[1.0], [3.0]])
    np.testing.assert_allclose(np.concatenate(first), [-(0.5**0.5), 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(shaper([[8.0]])[0], [4 / 13**0.5], rtol=1e-6)


def test_scale_keeps_the_sign_and_clip_bounds() -> None:
    """1, 3 over sqrt(2) is 0.707 and 2.12, cut to 2."""
    shaper = RewardShaper(ShapingConfig(normalise="scale", clip=2.0))
    np.testing.assert_allclose(np.concatenate(shaper([[1.0, 3.0]])), [0.5**0.5, 2.0], rtol=1e-6)


def test_rewards_that_never_differed_stay_finite() -> None:
    shaper = RewardShaper(ShapingConfig(normalise="standardise"))
    assert np.concatenate(shaper([[2.0], [2.0]])).tolist() == [0.0, 0.0]


def test_without_settings_rewards_are_scores() -> None:
    assert np.concatenate(RewardShaper(ShapingConfig())([[7.0], [-300.0]])).tolist() == [
        7.0,
        -300.0,
    ]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(batches=batches)
def test_a_saved_shaper_goes_on_as_if_it_had_never_stopped(batches) -> None:
    config = ShapingConfig(normalise="standardise", clip=3.0)
    whole = RewardShaper(config)
    expected = [whole(batch) for batch in batches]
    first = RewardShaper(config)
    first(batches[0])
    rest = RewardShaper(config, json.loads(json.dumps(first.state())))
    for batch, wanted in zip(batches[1:], expected[1:], strict=True):
        for found, want in zip(rest(batch), wanted, strict=True):
            assert found.tolist() == want.tolist()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(num_groups=st.integers(1, 20), minibatches=st.integers(1, 4), epochs=st.integers(1, 3))
def test_every_epoch_takes_every_group_once(num_groups, minibatches, epochs) -> None:
    config = PpoConfig(minibatches=minibatches, epochs=epochs)
    taken = [i for _, part in minibatch_indices(num_groups, config, "s") for i in part]
    assert sorted(taken) == sorted(list(range(num_groups)) * epochs)
    assert list(minibatch_indices(num_groups, config, "s")) == list(
        minibatch_indices(num_groups, config, "s")
    )


def test_epochs_have_orders_of_their_own() -> None:
    numbered = list(minibatch_indices(32, PpoConfig(minibatches=2, epochs=2), "s"))
    assert [number for number, _ in numbered] == [0, 1, 2, 3]
    parts = [part for _, part in numbered]
    assert parts[0] != parts[2]
    assert pytest.approx(32) == len(parts[0]) + len(parts[1])


def test_truncated_responses_leave_both_losses_and_their_denominators() -> None:
    """Of four prompts one loses a response and one both, whose optimizer step has nothing left and is skipped."""
    job = PpoJob.model_validate(
        {
            "rollout": {"prompts_per_step": 4, "samples_per_prompt": 2},
            "algorithm": {"mask_truncated": True, "minibatches": 4, "epochs": 1},
        }
    )
    prompts = [Prompt(Record(str(i), ()), np.zeros(4, dtype=np.int32)) for i in range(4)]
    groups = FakeWorkers(lambda call, prompt: (1.0, 0.0)).collect(prompts, [0] * 4, train_spec(job))
    for group, cut in zip(
        groups, [(False, True), (True, True), *[(False, False)] * 2], strict=True
    ):
        group.on_sampled(group.tokens, replace(group.meta, truncated=cut))
    batch = PpoBatch(tuple(groups), tuple("abcd"), (), (0.0, 1.0), {})
    seen: dict[str, Any] = {}

    def update(own: Any, metas: Any, fitted: Any, *, place: int) -> Meters:
        assert [i.kept for i in own] == [i.kept for i in fitted]
        seen[metas[0].prompt_id] = (own[0].kept, metas[0].sampled_lengths, place)
        return Meters()

    update_on(batch, job, cast(Any, SimpleNamespace(update=update)), 1)
    order = [i for _, part in minibatch_indices(4, job.algorithm, f"{job.seed}/1") for i in part]
    expected = {0: ((0,), (3,)), 2: ((0, 1), (3, 3)), 3: ((0, 1), (3, 3))}
    assert seen == {str(i): (*own, order.index(i)) for i, own in expected.items()}
