"""Rubrics: HealthBench's arithmetic, RaR's forms, and what a judge is asked."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.judges.client import JudgeFailed
from medray.rewards.mixture import build_rewards
from medray.rewards.registry import build_reward
from medray.rewards.rubric import (
    Criterion,
    clipped_mean,
    penalty,
    rubric_of,
    rubric_score,
    tag_score,
)
from medray.types import GroupScore, Prompt
from tests.support.scripted_judge import Script, scripted_judge

from .helpers import group, prompt, response

RUBRIC = [
    {"criterion": "says CALL", "points": 7, "tags": ["axis:accuracy"]},
    {"criterion": "says REST", "points": 3, "tags": ["axis:completeness"]},
    {"criterion": "says WAIT", "points": -5, "tags": ["axis:accuracy"]},
]
YES, NO = '{"met": true}', '{"met": false}'


def item(rubric: Any = RUBRIC) -> Prompt:
    asked = prompt("")
    return Prompt(replace(asked.record, extra={"rubric": rubric}), asked.token_ids)


def by_words(number: int, text: str) -> str:
    """Meets "says X" when the answer has X."""
    answer, _, task = text.partition("# Task")
    wanted = task.partition("Criterion: says ")[2].split()[0]
    return YES if wanted in answer else NO


def score(script: Script, *texts: str, **options: Any) -> tuple[GroupScore, Any]:
    with scripted_judge(script) as (url, seen):
        judge = {"url": url, "model": "m", "backoff_s": 0.01, "retries": 1, "repairs": 1}
        config = RewardConfig(kind="rubric", options={"judge": judge, **options})
        return build_rewards([config]).score(group(item(), *texts)), seen


def test_points_by_hand() -> None:
    scored, seen = score(by_words, "CALL and REST", "CALL", "REST, WAIT", "WAIT", "")
    # Of 10 positive points: 10, 7, 3 - 5, -5, 0.
    assert scored.rewards == pytest.approx((1.0, 0.7, -0.2, -0.5, 0.0))
    assert scored.parts["rubric/met"] == pytest.approx((2 / 3, 1 / 3, 2 / 3, 1 / 3, 0.0))
    assert scored.parts["rubric/penalty"] == pytest.approx((0.0, 0.0, 0.5, 0.5, 0.0))
    assert len(seen.bodies) == 15


def test_explicit_and_clipped_scores_lie_in_0_to_1() -> None:
    for options in ({"form": "explicit"}, {"clip": True}):
        scored, _ = score(by_words, "CALL", "REST, WAIT", "WAIT", **options)
        assert scored.rewards == pytest.approx((0.7, 0.0, 0.0))


def test_implicit_is_one_grade_of_the_whole() -> None:
    scored, seen = score(lambda n, text: '{"grade": 10}' if "CALL" in text.partition("# Task")[0] else '{"grade": 4}',
                         "CALL", "x", form="implicit")  # fmt: skip
    assert scored.rewards == pytest.approx((1.0, 3 / 9))
    assert len(seen.bodies) == 2
    asked = seen.bodies[0]["messages"][0]["content"]
    assert all(line in asked for line in ("- [+7] says CALL", "- [-5] says WAIT"))
    with pytest.raises(GraderError, match="grade: Input should be less than or equal to 10"):
        score(lambda n, text: '{"grade": 11}', "x", form="implicit")


def test_tags_are_parts() -> None:
    scored, _ = score(by_words, "CALL", "WAIT", tags=["axis:accuracy"])
    assert scored.parts["rubric/axis_accuracy"] == pytest.approx((1.0, -5 / 7))


def test_the_conversation_comes_first_so_that_criteria_share_it() -> None:
    _, seen = score(by_words, "CALL <think>secret</think> now")
    texts = [body["messages"][0]["content"] for body in seen.bodies]
    assert len({text.partition("Criterion: says ")[0] for text in texts}) == 1
    assert texts[0].startswith("# Conversation\n\nuser: ?\n\nassistant: CALL")
    assert "secret" not in texts[0], "a thought is not an answer"


@pytest.mark.parametrize("failure", ["hang", 500, "half", '{"met": 3}', "no", "die"])
def test_a_failing_judge_is_no_zero(failure: Any) -> None:
    with scripted_judge(lambda n, text: failure if "REST" in text else YES) as (url, _):
        judge = {
            "url": url,
            "model": "m",
            "backoff_s": 0.01,
            "retries": 1,
            "repairs": 0,
            "timeout_s": 0.3,
        }
        reward = build_reward(RewardConfig(kind="rubric", options={"judge": judge}))
        with pytest.raises(JudgeFailed):
            reward.score(item(), [response("x")])
        mixture = build_rewards([RewardConfig(kind="rubric", options={"judge": judge})])
        with pytest.raises(GraderError, match="reward rubric on prompt item-1 raised JudgeFailed"):
            mixture.score(group(item(), "x"))


@pytest.mark.parametrize(
    "rubric",
    [None, [], "x", [3], [{"points": 1}], [{"criterion": "a", "points": -1}], [{"criterion": "a", "points": "x"}]],
)  # fmt: skip
def test_a_record_without_a_rubric_is_a_failure(rubric: Any) -> None:
    with pytest.raises(GraderError, match="record item-1"):
        rubric_of(item(rubric).record)


def test_a_judge_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"rewards\.0\.options\.judge"):
        build_reward(RewardConfig(kind="rubric", options={}))
    with pytest.raises(ConfigError, match="'ward' is not in judges"):
        build_reward(RewardConfig(kind="rubric", options={"judge": "ward"}))


def healthbench_by_the_paper(points: list[int], met: list[bool]) -> Fraction:
    """Section 4 of arXiv:2505.08775, in exact fractions."""
    earned = sum((Fraction(p) for p, m in zip(points, met, strict=True) if m), Fraction(0))
    return earned / sum((Fraction(p) for p in points if p > 0), Fraction(0))


def cases() -> list[tuple[list[int], list[list[str]], list[bool]]]:
    rng = random.Random(5)
    found = []
    while len(found) < 50:
        n = rng.randint(1, 30)
        points = [rng.choice([-10, -8, -5, -3, -1, 1, 2, 4, 5, 6, 7, 9, 10]) for _ in range(n)]
        if any(p > 0 for p in points):
            tags = [
                rng.sample(["axis:a", "axis:b", "theme:c"], rng.randint(0, 2)) for _ in range(n)
            ]
            found.append((points, tags, [rng.random() < 0.5 for _ in range(n)]))
    return found


def test_fifty_cases_equal_healthbenchs_arithmetic() -> None:
    scores, exact = [], []
    for points, tags, met in cases():
        rubric = [Criterion("c", p, tuple(t)) for p, t in zip(points, tags, strict=True)]
        scores.append(rubric_score(rubric, met))
        exact.append(healthbench_by_the_paper(points, met))
        assert abs(scores[-1] - float(exact[-1])) < 1e-9
        lost = Fraction(sum(-p for p, m in zip(points, met, strict=True) if m and p < 0))
        assert abs(penalty(rubric, met) - float(lost / sum(p for p in points if p > 0))) < 1e-9
        for tag in ("axis:a", "theme:c"):
            own = [(p, m) for p, t, m in zip(points, tags, met, strict=True) if tag in t]
            if any(p > 0 for p, _ in own):
                wanted = healthbench_by_the_paper([p for p, _ in own], [m for _, m in own])
                assert abs((tag_score(rubric, met, tag) or 0.0) - float(wanted)) < 1e-9
            else:
                assert tag_score(rubric, met, tag) is None
    assert min(scores) < 0, "scores of single answers are not clipped"
    assert abs(clipped_mean(scores) - float(sum(exact) / 50)) < 1e-9
    assert (clipped_mean([-1.0, 0.2]), clipped_mean([1.0])) == (0.0, 1.0)


def test_negative_points_only_ever_lower_a_score() -> None:
    for points, _, met in cases():
        rubric = [Criterion("c", p) for p in points]
        for i, p in enumerate(points):
            flipped = [*met[:i], True, *met[i + 1 :]], [*met[:i], False, *met[i + 1 :]]
            on, off = (rubric_score(rubric, one) for one in flipped)
            assert (on - off) * p > 0
