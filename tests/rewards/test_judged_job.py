"""A job under a judge that fails now and then: the scores of an undisturbed run; cache hits after a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medray.config.grpo import GrpoJob
from medray.config.loader import validated
from medray.errors import GraderError
from medray.rewards.judges.client import JUDGES
from medray.rewards.mixture import RewardMixture, build_rewards
from medray.types import GroupScore, Prompt, RolloutGroup
from tests.support.scripted_judge import scripted_judge

from .helpers import group, prompt

FAILURES = [500, 429, "half", "die", '{"met": tr', "I think so.", '{"wrong": 1}', "hang"]
RUBRIC = [{"criterion": f"says word {i}", "points": p} for i, p in enumerate((5, 3, -4))]


def verdict(number: int, text: str) -> str:
    """Depends on the question alone."""
    if "Reference answer" in text:
        return f'{{"equivalent": {str("word 1" in text).lower()}}}'
    said, _, task = text.partition("# Task")
    wanted = task.partition("Criterion: says ")[2].splitlines()[0]
    return f'{{"met": {str(wanted in said).lower()}, "explanation": "counted"}}'


class Disturbed:
    """Fails every third question at first, in all ways in turn; asked again, it answers."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def __call__(self, number: int, text: str) -> Any:
        if text.startswith("That is not the JSON"):
            return (
                500  # so that the answer to the repaired question is given by a retry of the group
            )
        self.seen[text] = self.seen.get(text, 0) + 1
        if self.seen[text] == 1 and len(self.seen) % 3 == 0:
            return FAILURES[len(self.seen) // 3 % len(FAILURES)]
        return verdict(number, text)


def rewards_at(url: str, cache: Path | None) -> RewardMixture:
    """The rewards of a job as a grader builds them when it starts."""
    JUDGES.clear()
    ward: dict[str, Any] = {
        "url": url,
        "model": "m",
        "backoff_s": 0.01,
        "timeout_s": 0.5,
        "retries": 1,
    }
    settings = {
        "judges": {"ward": ward | ({"cache": str(cache)} if cache else {})},
        "rewards": [
            {"kind": "rubric", "options": {"judge": "ward"}},
            {"kind": "verifier", "weight": 0.5, "options": {"backend": "judge", "judge": "ward"}},
            {"kind": "length", "weight": 0, "gate": {"min": 1}},
        ],
    }
    return build_rewards(validated(GrpoJob, settings).rewards)


def groups() -> list[RolloutGroup]:
    found = []
    for i in range(6):
        asked = prompt("gold", id=f"p{i}")
        item = Prompt(replace(asked.record, extra={"rubric": RUBRIC}), asked.token_ids)
        found.append(
            group(item, f"{i}: word 0", f"{i}: word 1 word 2", f"{i}: word 0 word 1", f"{i}: none")
        )
    return found


def graded(rewards: RewardMixture) -> tuple[list[GroupScore], int]:
    """Scores of all groups, and how many failures cost a group a retry, as `grading.retries` does."""
    scores: list[GroupScore] = []
    failures = 0
    for one in groups():
        for _ in range(20):
            try:
                scores.append(rewards.score(one))
                break
            except GraderError:
                failures += 1
    return scores, failures


def test_a_disturbed_run_has_the_rewards_of_an_undisturbed_one(tmp_path: Path) -> None:
    with scripted_judge(verdict) as (url, _):
        calm, failures = graded(rewards_at(url, None))
    assert failures == 0
    # word 0: 5 of 8 points, wrong; words 1 and 2: 3 - 4, equivalent; words 0 and 1: all, equivalent; none: wrong.
    assert calm[0].rewards == pytest.approx((5 / 8 + 0.05, -1 / 8 + 0.5, 1.5, 0.05))
    disturbed = Disturbed()
    with scripted_judge(disturbed) as (url, seen):
        found, failures = graded(rewards_at(url, tmp_path))
        asked = len(seen.bodies)
        assert found == calm
        assert failures > 0
        assert asked > len(disturbed.seen) > 0
        resumed, failures = graded(rewards_at(url, tmp_path))
        assert (resumed, failures, len(seen.bodies)) == (calm, 0, asked), "all from the cache"


@pytest.mark.parametrize("failure", [500, "half", "no JSON", '{"met": 2}'])
def test_a_judge_that_never_recovers_is_named(failure: Any) -> None:
    with scripted_judge(lambda number, text: failure) as (url, _):
        rewards = rewards_at(url, None)
        with pytest.raises(
            GraderError,
            match=r"reward rubric on prompt p0 raised JudgeFailed: judge ward \(m at http",
        ):
            rewards.score(groups()[0])
