"""What the algorithm asks of the rollout workers: refills, greedy baselines, passes for old log-probabilities."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.actors.workers import Workers
from medray.config.algorithms.base import OverlongConfig
from medray.config.algorithms.registry import ALGORITHMS
from medray.config.grpo import GrpoJob
from medray.config.reward import RewardConfig
from medray.data.batches.stream import PromptStream
from medray.observability.console.plain import PlainConsole
from medray.training.advantages import ESTIMATORS, advantages_of, overlong_penalty
from medray.training.batch import Batch, batch_metrics, minibatches, rollout_metrics
from medray.training.grpo import train_grpo
from medray.training.sampling import PromptSource, SampledStep, estimate_batch, train_spec
from medray.training.steps import PromptSets, Run
from medray.types import GroupScore, Prompt, Record
from tests.support.batches import BatchSource
from tests.support.fake_workers import FakeWorkers, ListSink, Script


def _prompts(count: int) -> tuple[Prompt, ...]:
    return tuple(Prompt(Record(f"t{i}", ()), np.arange(5, dtype=np.int32)) for i in range(count))


def _job(**algorithm: Any) -> GrpoJob:
    return GrpoJob.model_validate(
        {
            "num_steps": 3,
            "rollout": {"prompts_per_step": 4, "samples_per_prompt": 2, "max_new_tokens": 4},
            "evaluation": {"num_items": 0},
            "checkpoint": {"every": 1},
            "algorithm": algorithm,
        }
    )


def _source(job: GrpoJob, workers: FakeWorkers, *, prompts: int = 20, position: int = 0) -> BatchSource:  # fmt: skip
    stream = PromptStream(_prompts(prompts), job.seed, position=position)
    return BatchSource(job, PromptSource(job, cast(Any, workers.collector), stream))


def _train(job: GrpoJob, workers: FakeWorkers, **run: Any) -> ListSink:
    sink = ListSink()
    console = PlainConsole(job.num_steps, io.StringIO())
    train_grpo(job, cast(Workers, workers), Run(PromptSets(_prompts(20), ()), sink, console, **run))
    return sink


def _even_prompts_tie(call: int, prompt: Prompt) -> tuple[float, float]:
    return (1.0, 1.0) if int(prompt.record.id[1:]) % 2 == 0 else (1.0, 0.0)


def _ids(groups: Any) -> list[int]:
    return [int(s.meta.prompt_id[1:]) for s in groups]


def test_refill_gives_exactly_the_groups_with_a_signal_in_order() -> None:
    workers = FakeWorkers(_even_prompts_tie)
    batch = _source(_job(dynamic_sampling=True), workers).next_batch()
    asked = [int(i[1:]) for i in workers.seen]
    assert _ids(batch.groups) == [i for i in asked if i % 2][:4]
    assert _ids(batch.dropped) == [i for i in asked if i % 2 == 0]
    assert asked[-1] % 2 == 1, "the last prompt asked for filled the batch"
    metrics = batch_metrics(batch)
    assert metrics["groups/dropped"] == len(asked) - 4
    assert metrics["groups/rounds"] == workers.calls
    assert metrics["groups/tied"] == 0
    assert metrics["groups/total"] == 4
    # Tied groups count in the reward, or filtering alone would seem to move it.
    expected = (4 * 0.5 + (len(asked) - 4) * 1.0) / len(asked)
    assert metrics["reward/mean"] == pytest.approx(expected)
    assert metrics["rollout/tokens"] == len(asked) * 2 * 3


def test_rounds_end_at_the_cap_and_the_batch_is_completed_with_ties() -> None:
    workers = FakeWorkers(lambda call, prompt: (0.0, 0.0))
    batch = _source(_job(dynamic_sampling={"max_rounds": 3}), workers).next_batch()
    assert workers.calls == 3
    assert len(batch.groups) == 4
    assert len(batch.dropped) == 8
    metrics = batch_metrics(batch)
    assert (metrics["groups/tied"], metrics["groups/dropped"]) == (4, 8)
    assert _ids(batch.sampled) == [int(i[1:]) for i in workers.seen]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.sets(st.integers(0, 19)), st.integers(1, 5))
def test_refill_neither_loses_nor_repeats_a_prompt(tying: set[int], max_rounds: int) -> None:
    def script(call: int, prompt: Prompt) -> tuple[float, float]:
        return (0.0, 0.0) if int(prompt.record.id[1:]) in tying else (0.0, 1.0)

    workers = FakeWorkers(script)
    source = _source(_job(dynamic_sampling={"max_rounds": max_rounds}), workers, prompts=20)
    batch = source.next_batch()
    assert source.source.stream.position == len(workers.seen) == len(batch.sampled)
    assert sorted(_ids(batch.sampled)) == sorted(int(i[1:]) for i in workers.seen)
    signals = [i not in tying for i in _ids(batch.groups)]
    assert len(signals) == 4
    assert all(signals) or workers.calls == max_rounds
    assert not any(i not in tying for i in _ids(batch.dropped)), "no group with a signal is wasted"


def test_a_resumed_run_refills_with_the_prompts_of_an_undisturbed_one() -> None:
    whole = FakeWorkers(_even_prompts_tie)
    _train(_job(kind="dapo"), whole)
    saved = [line for line in whole.log if line.startswith("save 2")]
    position = int(saved[0].split("@")[1])
    assert position > 8, "dropped prompts are part of the position"
    assert len(set(whole.seeds)) == len(whole.seeds), "no two rollouts share a seed"
    rest = FakeWorkers(_even_prompts_tie)
    _train(_job(kind="dapo"), rest, first_step=2, prompt_position=position)
    assert rest.seen == whole.seen[position:]
    assert rest.seeds == whole.seeds[position:]


def test_dropped_groups_are_not_trained_on_but_recorded() -> None:
    class Recording(FakeWorkers):
        def record(self, step: int, batch: Any, advantages: Any) -> None:
            recorded.append((_ids(batch), [a.tolist() for a in advantages]))

    recorded: list[tuple[list[int], list[list[float]]]] = []
    workers = Recording(_even_prompts_tie)
    _train(_job(dynamic_sampling=True), workers)
    assert all(int(item.tokens[1:]) % 2 for update in workers.updates for item in update)
    assert all(len(update) == 4 for update in workers.updates)
    assert sorted(i for ids, _ in recorded for i in ids) == sorted(int(i[1:]) for i in workers.seen)
    for ids, advantages in recorded:
        for number, values in zip(ids, advantages, strict=True):
            assert values == ([0.5, -0.5] if number % 2 else [0.0, 0.0])


def test_remax_compares_with_one_greedy_response_a_prompt() -> None:
    """Samples 1 and 0, greedy 1: advantages 0 and -1."""
    orders: list[tuple[int, float, bool]] = []

    class Noting(FakeWorkers):
        def collect(self, prompts: Any, seeds: Any, spec: Any, **options: Any) -> Any:
            orders.append(
                (spec.num_samples, spec.sampling.temperature, options.get("reference", True))
            )
            return super().collect(prompts, seeds, spec, **options)

    workers = Noting(lambda call, prompt: (1.0, 0.0))
    batch = _source(_job(kind="remax"), workers).next_batch()
    assert orders == [(2, 1.0, True), (1, 0.0, False)]
    assert [a.tolist() for a in batch.advantages] == [[0.0, -1.0]] * 4
    metrics = batch_metrics(batch)
    assert metrics["reward/greedy"] == 1.0
    assert metrics["rollout/greedy_tokens"] == 4 * 3
    assert metrics["reward/mean"] == 0.5, "the baseline is not part of it"


def test_remax_asks_for_greedy_responses_to_the_groups_it_keeps() -> None:
    greedy: list[str] = []

    class Noting(FakeWorkers):
        def collect(self, prompts: Any, seeds: Any, spec: Any, **options: Any) -> Any:
            if spec.sampling.temperature == 0:
                greedy.extend(p.record.id for p in prompts)
            return super().collect(prompts, seeds, spec, **options)

    workers = Noting(_even_prompts_tie)
    batch = _source(_job(kind="remax", dynamic_sampling=True), workers).next_batch()
    assert greedy == [s.meta.prompt_id for s in batch.groups]


class Ungraded(FakeWorkers):
    """Graders that give up on some groups."""

    given_up: frozenset[str] = frozenset()

    def collect(self, prompts: Any, seeds: Any, spec: Any, **options: Any) -> Any:
        scored = super().collect(prompts, seeds, spec, **options)
        left = [s for s in scored if s.meta.prompt_id not in self.given_up]
        assert left or options.get("may_be_empty"), "a batch without a verdict stops the run"
        return left


def test_groups_without_a_verdict_are_refilled_too() -> None:
    workers = Ungraded(_even_prompts_tie)
    first = [
        p.record.id for p in _source(_job(), FakeWorkers(_even_prompts_tie)).source.stream.take(12)
    ]
    workers.given_up = frozenset(first[:12:2])
    batch = _source(_job(dynamic_sampling={"max_rounds": 20}), workers).next_batch()
    assert len(batch.groups) == 4
    assert all(i % 2 for i in _ids(batch.groups))
    assert not workers.given_up & {s.meta.prompt_id for s in batch.sampled}


def test_the_cap_with_groups_without_a_verdict_leaves_a_smaller_batch() -> None:
    workers = Ungraded(lambda call, prompt: (0.0, 0.0))
    prompts = _source(_job(), FakeWorkers(_split)).source.stream.take(4)
    workers.given_up = frozenset(p.record.id for p in prompts[:3])
    batch = _source(_job(dynamic_sampling={"max_rounds": 1}), workers).next_batch()
    assert _ids(batch.groups) == [int(prompts[3].record.id[1:])]
    assert batch_metrics(batch)["groups/dropped"] == 0


def test_a_group_whose_greedy_response_has_no_verdict_is_left_out() -> None:
    class GreedyUngraded(FakeWorkers):
        def collect(self, prompts: Any, seeds: Any, spec: Any, **options: Any) -> Any:
            scored = super().collect(prompts, seeds, spec, **options)
            return scored[1:] if spec.sampling.temperature == 0 else scored

    def script(call: int, prompt: Prompt) -> tuple[float, float]:
        number = float(prompt.record.id[1:])
        return (number, number + 1)  # greedy is the first: advantages 0 and 1 if the pairs match

    workers = GreedyUngraded(script)
    batch = _source(_job(kind="remax"), workers).next_batch()
    assert [s.meta.prompt_id for s in batch.groups] == workers.seen[1:]
    assert [a.tolist() for a in batch.advantages] == [[0.0, 1.0]] * 3


@pytest.mark.parametrize(("groups", "sizes"), [(4, [2, 2]), (7, [3, 4]), (1, [1])])
def test_a_batch_is_cut_into_as_many_steps_as_configured(groups: int, sizes: list[int]) -> None:
    config = _job(minibatches=2).algorithm
    scored = FakeWorkers(_split).collect(_prompts(groups), [0] * groups, train_spec(_job()))
    batch = Batch(tuple(scored), (np.array([1, -1], dtype=np.float32),) * groups)
    cut = [len(part.items) for part in minibatches(batch, config, lambda groups: groups)]
    assert cut == sizes


@pytest.mark.parametrize("kind", ["grpo", "rloo", "dapo", "gspo"])
def test_others_ask_for_samples_alone(kind: str) -> None:
    workers = FakeWorkers(lambda call, prompt: (1.0, 0.0))
    _train(_job(kind=kind), workers)
    assert [line for line in workers.log if line.startswith(("rollout", "evaluate", "old"))] == [
        "rollout v0",
        "rollout v1",
        "rollout v2",
    ]


def test_overlong_penalty_moves_advantages_and_is_reported() -> None:
    """Lengths are 3 of at most 4; half of the limit is buffer, so each response loses (4 - 2 - 3) / 2 = -1/2.

    The graded reward is reported without it.
    """
    workers = FakeWorkers(lambda call, prompt: (1.0, 0.0))
    job = _job(kind="reinforce_pp", overlong={"share": 0.5, "factor": 2.0})
    metrics = batch_metrics(_source(job, workers).next_batch())
    assert metrics["reward/overlong_penalty"] == -1.0
    assert metrics["reward/mean"] == 0.5


def test_length_is_what_the_policy_said() -> None:
    """Of 4 and 3 tokens the environment said 2 and 0: lengths 2 and 3, of which only the 3 costs (4 - 2 - 3) / 2."""
    [group] = FakeWorkers(_split).collect(_prompts(1), [0], train_spec(_job()))
    meta = replace(group.meta, num_response_tokens=(4, 3), num_environment_tokens=(2, 0))
    group.on_sampled(group.tokens, meta)
    config = _job(overlong={"share": 0.5}).algorithm
    assert overlong_penalty(group, config, 4).tolist() == [0.0, -0.5]
    assert rollout_metrics([group])["rollout/length_mean"] == 2.5
    assert group.meta.num_sampled_tokens == 5, "and the denominator of the loss agrees"


def test_gdpo_reads_each_reward_and_its_weight() -> None:
    """Scores (1, 0) of weight 1 and (0, 4) of weight -1 both say +-c: 2c and -2c, over their deviation 2."""
    rewards = [{"kind": "choice"}, {"kind": "text", "weight": -1.0}]
    job = _job(kind="gdpo", aggregation="sequence").model_copy(
        update={"rewards": tuple(RewardConfig.model_validate(r) for r in rewards)}
    )
    [group] = FakeWorkers(_split).collect(_prompts(1), [0], train_spec(job))
    parts = {"choice/score": (1.0, 0.0), "text/score": (0.0, 4.0)}
    group.on_scored(GroupScore((1.0, -4.0), parts))
    found = estimate_batch(job, SampledStep([group]), cast(Any, None)).advantages[0]
    np.testing.assert_allclose(found, [0.5**0.5, -(0.5**0.5)], rtol=1e-5)
    # The penalty is one more reward: (0, -1/2) for a length of 3 of 4, again +-c.
    group.on_sampled(group.tokens, replace(group.meta, num_response_tokens=(2, 3)))
    long = job.algorithm.model_copy(update={"overlong": OverlongConfig(share=0.5)})
    three = advantages_of([group], long, 4, (), {"choice": 1.0, "text": 1.0}).values
    np.testing.assert_allclose(three[0], [0.5**0.5, -(0.5**0.5)], rtol=1e-5)


def test_truncated_responses_leave_the_loss_and_not_the_baseline() -> None:
    """Of three groups the first loses a response, the second both; the third is whole."""
    job = _job(mask_truncated=True)
    groups = FakeWorkers(_split).collect(_prompts(3), [0] * 3, train_spec(job))
    for group, cut in zip(groups, [(False, True), (True, True), (False, False)], strict=True):
        group.on_sampled(group.tokens, replace(group.meta, truncated=cut))
    batch = estimate_batch(job, SampledStep(groups), cast(Any, None))
    assert [a.tolist() for a in batch.advantages] == [[0.5, -0.5]] * 3
    [step] = minibatches(batch, job.algorithm, lambda groups: groups)
    assert [item.kept for item in step.items] == [(0,), (0, 1)]
    assert [meta.sampled_lengths for meta in step.metas] == [(3,), (3, 3)]
    plain = _job().algorithm
    [step] = minibatches(batch, plain, lambda groups: groups)
    assert [item.kept for item in step.items] == [(0, 1)] * 3


@pytest.mark.parametrize("kind", ["reinforce_pp", "reinforce_pp_baseline"])
@pytest.mark.parametrize("aggregation", ["token", "sequence", "fixed"])
def test_a_statistic_has_the_unit_of_the_average_it_serves(kind: str, aggregation: str) -> None:
    """Whitened advantages have mean 0 and deviation 1 in the very average that the loss takes of them."""
    batch = FakeWorkers(lambda call, prompt: (float(prompt.record.id[1:]), 0.0)).collect(
        _prompts(4), [0] * 4, train_spec(_job())
    )
    lengths = [(1, 4), (3, 2), (4, 4), (1, 2)]
    for group, own in zip(batch, lengths, strict=True):
        group.on_sampled(group.tokens, replace(group.meta, num_response_tokens=own))
    config = _job(kind=kind, aggregation=aggregation).algorithm
    advantages = np.concatenate(advantages_of(batch, config, 4).values)
    times = [1] * 8 if aggregation == "sequence" else [n for own in lengths for n in own]
    seen = np.repeat(advantages, times)
    assert seen.mean() == pytest.approx(0, abs=1e-6)
    assert seen.std(ddof=1) == pytest.approx(1, abs=1e-5)


def _split(call: int, prompt: Prompt) -> tuple[float, float]:
    return (1.0, 1.0) if prompt.record.id == "t3" else (1.0, 0.0)


@pytest.mark.parametrize(
    ("algorithm", "passes"),
    [
        ({"minibatches": 2}, False),
        ({"correction": {"kind": "tis"}}, False),
        ({"correction": {"kind": "tis"}, "minibatches": 2, "epochs": 2}, True),
        ({"ratio": "old", "epochs": 2}, True),
    ],
)
def test_old_logprobs_are_scored_once_a_group_before_the_first_step_and_only_if_needed(
    algorithm: dict[str, Any], passes: bool
) -> None:
    workers = FakeWorkers(_split)
    _train(_job(**algorithm).model_copy(update={"num_steps": 5}), workers)
    trained = {item.tokens for update in workers.updates for item in update}
    old = [line for line in workers.log if line.startswith("old")]
    assert "t3" not in trained
    assert len(old) == (len(trained) if passes else 0)
    assert all(
        item.old == (f"old {item.tokens}" if passes else None)
        for update in workers.updates
        for item in update
    )
    for step in "".join(line[0] for line in workers.log).split("r"):  # o: old, u: update
        assert "uo" not in step


def test_distillation_trains_on_every_group_whatever_its_reward() -> None:
    workers = FakeWorkers(lambda call, prompt: (0.0, 0.0))
    _train(_job(kind="distill", distill={"teacher": {}}), workers)
    assert [len(update) for update in workers.updates] == [4, 4, 4]
    assert not any(item.advantages.any() for update in workers.updates for item in update)


@pytest.mark.parametrize("script", [_split, _even_prompts_tie])
def test_every_estimator_gives_one_float_a_response(script: Script) -> None:
    for name in ALGORITHMS:
        settings: dict[str, Any] = {"kind": name}
        if name == "pass_at_k":
            settings["k"] = 2
        if name == "distill":
            settings["distill"] = {"teacher": {}}
        batch = _source(_job(**settings), FakeWorkers(script)).next_batch()
        assert [a.shape for a in batch.advantages] == [(2,)] * 4
        assert all(a.dtype == np.float32 for a in batch.advantages)


def test_the_table_holds_what_the_algorithms_name() -> None:
    assert set(ESTIMATORS) == {algorithm.estimator for algorithm in ALGORITHMS.values()}
