"""A process reward model as a reward: the text and the log-odds that it was trained on, cut and aggregated."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medray.config.prm import PrmJob
from medray.config.reward import RewardConfig
from medray.data.batches.examples import build_examples
from medray.data.batches.packing import build_row
from medray.data.loading.load import load_dataset
from medray.data.rendering.chat import ChatOptions
from medray.errors import ConfigError, ModelError
from medray.learners.scorer import Scorer
from medray.models.fetching.fetch import resolve_model
from medray.models.load import load_reward_model
from medray.rewards.mixture import build_rewards
from medray.rewards.model import AGGREGATES, ModelReward
from medray.types import Prompt, Record, Response, RolloutGroup
from tests.support.supervised import supervised_job, train_here

SEPARATOR = "\n"
"""Of the run: not the one that is taken where nothing is said."""


@pytest.fixture(scope="module")
def job(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> PrmJob:
    """A run of the stage, which has drawn a head and moved it."""
    folder = tmp_path_factory.mktemp("prm")
    chat = {"step_separator": SEPARATOR}
    job = supervised_job("prm", tiny_model, folder, chat=chat)
    assert isinstance(job, PrmJob)
    train_here("prm", job)
    return job


def _config(job: PrmJob, **steps: Any) -> RewardConfig:
    return RewardConfig(kind="model", options={"model": {"path": job.out}, "steps": steps})


def _group(record: Record, *texts: str) -> RolloutGroup:
    none = np.zeros(0, dtype=np.int32)
    responses = tuple(Response(none, none.astype(np.float32), text, "stop") for text in texts)
    return RolloutGroup(Prompt(record, none), responses, 0)


def _answers(job: PrmJob, count: int) -> list[Record]:
    records = load_dataset(job.data, stage="process").train
    return [r for r in records if len(r.steps) > 3][:count]


def _text(record: Record) -> str:
    return SEPARATOR.join(step["content"] for step in record.steps)


def test_log_odds_are_those_of_the_learner(job: PrmJob) -> None:
    """The learner's pass over the training example, against the reward's over the text of a response."""
    one, other = _answers(job, 2)
    learner = load_reward_model(job.model.model_copy(update={"path": job.out}))
    [reward] = [m.reward for m in build_rewards([_config(job)]).rewards]
    assert isinstance(reward, ModelReward)
    reward.load()
    scorer: Any = reward.scorer
    for record in (one, other):
        [example] = build_examples("process", job, learner.tokenizer)(record)
        expected = Scorer(learner).step_scores(build_row([example.tree], whole=True))
        answers = [
            ({"role": "assistant", "content": t},) for t in (_text(record), "Another\nanswer.")
        ]
        chat = ChatOptions()
        found, short = scorer.step_scores(record.messages, answers, reward.separator, chat)
        assert found == pytest.approx(expected.tolist(), abs=1e-5)
        assert len(found) == len(record.steps)
        assert len(short) == 2
        assert np.std(found) > 1e-4


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_the_reward_is_made_of_the_steps_probabilities(job: PrmJob, aggregate: str) -> None:
    [record] = _answers(job, 1)
    [last] = [m.reward for m in build_rewards([_config(job, aggregate="last")]).rewards]
    texts = [_text(record)] + [
        SEPARATOR.join(s["content"] for s in record.steps[: i + 1])
        for i in range(len(record.steps))
    ]
    group = _group(record, *texts)
    scored = build_rewards([_config(job, aggregate=aggregate)]).score(group)
    assert scored.parts["model/num_steps"][0] == len(record.steps)
    assert scored.rewards[0] == pytest.approx(scored.rewards[-1], abs=1e-6), "the same text"
    assert isinstance(last, ModelReward)
    last.load()
    scorer: Any = last.scorer
    [odds] = scorer.step_scores(
        record.messages,
        [({"role": "assistant", "content": texts[0]},)],
        SEPARATOR,
        ChatOptions(),
    )
    steps = [1 / (1 + math.exp(-x)) for x in odds]
    expected = {
        "min": min(steps),
        "product": math.prod(steps),
        "last": steps[-1],
        "mean": sum(steps) / len(steps),
    }
    assert scored.rewards[0] == pytest.approx(expected[aggregate], abs=1e-6)


def test_an_empty_answer_has_a_score(job: PrmJob) -> None:
    [record] = _answers(job, 1)
    scored = build_rewards([_config(job, aggregate="product")]).score(_group(record, "", " \n\n "))
    assert scored.parts["model/num_steps"] == (1.0, 1.0)
    assert 0 < scored.rewards[0] == scored.rewards[1] < 1


def test_a_thought_is_no_step(job: PrmJob) -> None:
    [record] = _answers(job, 1)
    thought = f"<think>First{SEPARATOR}I wonder.</think>{SEPARATOR}"
    group = _group(record, _text(record), thought + _text(record))
    scored = build_rewards([_config(job)]).score(group)
    assert scored.parts["model/num_steps"] == (len(record.steps),) * 2
    assert scored.rewards[0] == pytest.approx(scored.rewards[1], abs=1e-6)


def test_the_last_turn_of_a_dialogue_is_cut(job: PrmJob) -> None:
    [record] = _answers(job, 1)
    turns: Any = (
        {"role": "assistant", "content": "Which code?"},
        {"role": "user", "content": "That one."},
        {"role": "assistant", "content": _text(record)},
    )
    group = _group(record, _text(record))
    [response] = group.responses
    dialogue = replace(group, responses=(replace(response, dialogue=turns), response))
    scored = build_rewards([_config(job)]).score(dialogue)
    assert scored.parts["model/num_steps"] == (len(record.steps),) * 2
    assert abs(scored.rewards[0] - scored.rewards[1]) > 1e-6, "what was said before it counts"


def test_the_separator_is_that_of_the_run(job: PrmJob) -> None:
    for path in (job.out, str(resolve_model(job.out))):
        config = RewardConfig(kind="model", options={"model": {"path": path}, "steps": {}})
        [one] = build_rewards([config]).rewards
        assert isinstance(one.reward, ModelReward)
        assert one.reward.separator == SEPARATOR
        assert (one.reward.low, one.reward.high) == (0.0, 1.0)
    with pytest.raises((ConfigError, ModelError), match=r"trained with chat.step_separator='\\n'"):
        build_rewards([_config(job, separator="\n\n")])


def test_settings_that_cannot_work_are_refused(job: PrmJob) -> None:
    with pytest.raises(ConfigError, match="aggregate"):
        build_rewards([_config(job, aggregate="max")])
    for options, message in (
        ({"low": 1.5}, "set low below 1"),
        ({"label": "safe"}, "has no label"),
    ):
        config = RewardConfig(
            kind="model", options={"model": {"path": job.out}, "steps": {}, **options}
        )
        with pytest.raises(ConfigError, match=message):
            build_rewards([config])
