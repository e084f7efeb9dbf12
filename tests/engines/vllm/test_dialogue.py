"""Dialogues of several turns on a real engine: what was sampled is what is trained, and nothing else is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from medray.config.model import ModelConfig
from medray.config.rollout import EngineConfig
from medray.data.batches.trees import rollout_tree
from medray.data.rendering.chat import renderer_of
from medray.engines.base import Generated, GroupFailed
from medray.engines.dialogue import Dialogues, environment_turn
from medray.engines.requests import Sample
from medray.engines.vllm.engine import VllmEngine
from medray.learners.scorer import Scorer
from medray.models.load import PolicyModel, load_policy
from medray.types import GenerateSpec, Prompt, Record, RolloutGroup, SamplingContract
from tests.engines.vllm.test_sync import _delivery, _prompts

pytestmark = pytest.mark.ray

TURNS = 3
SPEC = GenerateSpec(
    SamplingContract(), 4, 200, stop=("k", "Q")
)  # some turns end without a stop token


class Talker:
    """Answers by what it hears, ends some dialogues early, and takes its time over others."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.fails_with = ""  # id of a record

    def reply(self, record: Record, turns: Sequence[str]) -> str | None:
        self.heard.append(tuple(turns))
        if record.id == self.fails_with:
            raise LookupError("no such patient")
        if len(turns[-1]) % 5 == 4:
            return None
        time.sleep(0.05 * (len(turns[-1]) % 3))
        return f"Turn {len(turns)} had {len(turns[-1])} letters."


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> PolicyModel:
    """A model that is fond of ending its turns."""
    policy = load_policy(ModelConfig(path=str(tiny_model)))
    torch.manual_seed(3)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
        policy.module.get_output_embeddings().weight[policy.tokenizer.eos_token_id] *= 6
    return policy


@pytest.fixture(scope="module")
def talker() -> Talker:
    return Talker()


@pytest.fixture(scope="module")
def engine(tiny_model: Path, policy: PolicyModel, talker: Talker) -> VllmEngine:
    dialogues: Dialogues[Sample] = Dialogues(talker.reply, renderer_of(policy.tokenizer), TURNS)
    engine = VllmEngine(
        ModelConfig(path=str(tiny_model)),
        EngineConfig(max_num_seqs=16),
        max_model_len=512,
        dialogues=dialogues,
    )
    engine.load_weights(*_delivery(policy, 1), tolerance=1e-3)
    return engine


def _generate(engine: VllmEngine, prompts: Sequence[Prompt]) -> list[Generated]:
    done = {
        g.index: g
        for g in engine.generate(prompts, [100 * i for i in range(9)][: len(prompts)], SPEC)
    }
    return [done[i] for i in range(len(prompts))]


def test_a_failing_environment_costs_its_group_alone(engine: VllmEngine, talker: Talker) -> None:
    """The other groups of the step are those of a run in which nothing failed, and so is the group's next try."""
    prompts = _prompts(6)
    whole = _generate(engine, prompts)
    victim = next(i for i, g in enumerate(whole) if any(r.dialogue for r in g.responses))
    talker.fails_with = prompts[victim].record.id
    for index, prompt in enumerate(prompts):
        engine.submit(index, prompt, 100 * index, SPEC)
    broken: dict[int, Generated | GroupFailed] = {}
    while engine.busy:
        for done in engine.step():
            broken[done.index] = done
    talker.fails_with = ""
    again = _generate(engine, prompts)

    failed = broken.pop(victim)
    assert isinstance(failed, GroupFailed)
    assert str(failed.error).endswith(
        f"prompt {prompts[victim].record.id}: LookupError: no such patient"
    )
    assert [_tokens(group) for group in again] == [_tokens(group) for group in whole]
    assert {i: _tokens(group) for i, group in broken.items()} == {
        i: _tokens(group) for i, group in enumerate(whole) if i != victim
    }


def _tokens(group: Generated | GroupFailed) -> list[list[int]]:
    assert isinstance(group, Generated)
    return [response.token_ids.tolist() for response in group.responses]


def test_tokens_text_and_turns_tell_one_story(
    engine: VllmEngine, policy: PolicyModel, talker: Talker
) -> None:
    prompts = _prompts(6)
    renderer = renderer_of(policy.tokenizer)
    several = 0
    for prompt, group in zip(prompts, _generate(engine, prompts), strict=True):
        for response in group.responses:
            assert len(response.token_ids) == len(response.logp) <= SPEC.max_new_tokens
            if response.sampled is None:
                assert not response.dialogue
                continue
            several += 1
            said = [m for m in response.dialogue if m["role"] == "assistant"]
            assert said[-1]["content"] == response.text
            assert [m["role"] for m in response.dialogue[:2]] == ["assistant", "user"]
            assert (response.logp[~response.sampled] == 0).all()
            # Between two turns stand exactly the tokens of the template, after the sampled ones.
            rest = list(response.token_ids)
            for message in response.dialogue:
                if message["role"] == "user":
                    between = list(
                        environment_turn(renderer, prompt.record, message["content"]).token_ids
                    )
                    at = next(i for i in range(len(rest)) if rest[i : i + len(between)] == between)
                    rest = rest[at + len(between) :]
            assert all(t in list(response.token_ids) for t in rest)
    assert several > 5, "the tiny model must end its turns for this test to say anything"
    assert max(len(turns) for turns in talker.heard) == TURNS - 1


def test_the_learner_scores_what_the_engine_sampled_and_trains_nothing_else(
    engine: VllmEngine, policy: PolicyModel
) -> None:
    prompts = _prompts(6)
    scorer = Scorer(policy, temperature=1.0)
    for prompt, group in zip(prompts, _generate(engine, prompts), strict=True):
        tree = rollout_tree(RolloutGroup(prompt, group.responses, 1), advantages=[1.0] * 4)
        [scored] = scorer.logprobs([tree])
        for response, continuation, logp in zip(
            group.responses, tree.continuations, scored, strict=True
        ):
            sampled = (
                response.sampled
                if response.sampled is not None
                else np.ones(len(response.logp), bool)
            )
            assert (continuation.trained == sampled).all()
            np.testing.assert_allclose(logp, response.logp[sampled], atol=2e-4)
        reference = rollout_tree(RolloutGroup(prompt, group.responses, 1), reference=scored)
        for response, continuation, logp in zip(
            group.responses, reference.continuations, scored, strict=True
        ):
            column = continuation.columns["ref_logp"]
            np.testing.assert_array_equal(column[continuation.trained], logp)
            assert len(column) == len(response.token_ids)


def test_slow_replies_and_other_company_change_no_token(engine: VllmEngine) -> None:
    prompts = _prompts(6)
    together = _generate(engine, prompts)
    alone = [_generate_one(engine, prompts, i) for i in range(len(prompts))]
    for a, b in zip(together, alone, strict=True):
        for x, y in zip(a.responses, b.responses, strict=True):
            assert x.token_ids.tolist() == y.token_ids.tolist()
            assert x.dialogue == y.dialogue


def _generate_one(engine: VllmEngine, prompts: Sequence[Prompt], i: int) -> Generated:
    [group] = engine.generate([prompts[i]], [100 * i], SPEC)
    return group


def test_weights_may_change_while_a_reply_is_awaited(
    engine: VllmEngine, policy: PolicyModel
) -> None:
    prompts = _prompts(4)
    for i, prompt in enumerate(prompts):
        engine.submit(i, prompt, 100 * i, SPEC)
    done: list[Generated] = []
    for _ in range(12):
        done += engine.step()
    engine.load_weights(*_delivery(policy, 2), tolerance=1e-3)
    while engine.busy:
        done += engine.step()
    assert sorted(g.index for g in done) == [0, 1, 2, 3]
    scorer = Scorer(policy, temperature=1.0)
    for group in done:
        tree = rollout_tree(RolloutGroup(prompts[group.index], group.responses, 1))
        [scored] = scorer.logprobs([tree])
        for response, logp in zip(group.responses, scored, strict=True):
            mask = response.sampled if response.sampled is not None else slice(None)
            np.testing.assert_allclose(logp, response.logp[mask], atol=2e-4)


def test_a_group_says_what_was_heard(engine: VllmEngine) -> None:
    [group] = engine.generate(_prompts(1), [0], SPEC)
    for response in group.responses:
        heard = 0 if response.sampled is None else int((~response.sampled).sum())
        assert response.num_sampled == len(response.token_ids) - heard
