"""A plain function as a reward."""

from __future__ import annotations

import asyncio

import pytest

from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.function import bounded
from medray.rewards.mixture import build_rewards
from medray.types import GroupScore, Record, Response
from tests.rewards.helpers import group, prompt

HERE = __name__
ITEM = prompt("aspirin")
running = {"now": 0, "most": 0}


def names_the_answer(response: Response, record: Record, *, worth: float = 1.0) -> float:
    return worth * (record.answer in response.text)


@bounded(-2.0, 0.0)
def length_penalty(response: Response, record: Record, cap: int = 4) -> float:
    return -min(len(response.text) / cap, 2.0)


async def judged(response: Response, record: Record, name: str = "judge") -> float:
    running["now"] += 1
    running["most"] = max(running.values())
    await asyncio.sleep(0)
    running["now"] -= 1
    return float(record.answer in response.text)


async def failing(response: Response, record: Record) -> float:
    raise TimeoutError(f"no answer about {response.text}")


def too_much(response: Response, record: Record) -> float:
    return 3.0


def nothing(response: Response, record: Record) -> None:
    return None


def of_the_response_only(response: Response) -> float:
    return 1.0


@bounded(1.0, 0.0)
def upside_down(response: Response, record: Record) -> float:
    return 1.0


def score(kind: str, *texts: str, **options: object) -> GroupScore:
    config = RewardConfig(kind=f"{HERE}:{kind}", options=options)
    return build_rewards([config]).score(group(ITEM, *texts))


def test_each_response_is_scored_with_the_options() -> None:
    scored = score("names_the_answer", "aspirin", "none", worth=0.5)
    assert scored.rewards == (0.5, 0.0)
    assert scored.parts == {"names_the_answer/score": (0.5, 0.0)}


def test_bounds_are_declared_by_a_decorator() -> None:
    assert score("length_penalty", "ab", "abcdefghijk").rewards == (-0.5, -2.0)
    assert score("length_penalty", "ab", cap=2).rewards == (-1.0,)


def test_an_async_function_answers_for_a_group_at_once() -> None:
    running.update(now=0, most=0)
    assert score("judged", "aspirin", "x", "some aspirin").rewards == (1.0, 0.0, 1.0)
    assert running == {"now": 0, "most": 3}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("failing", "reward failing on prompt item-1 raised TimeoutError: no answer about a"),
        ("too_much", r"returned 3\.0 for response 0, outside its bounds \[0\.0, 1\.0\]"),
        ("nothing", "a reward function returns a number, not NoneType"),
    ],
)
def test_a_failure_is_not_a_reward(kind: str, message: str) -> None:
    with pytest.raises(GraderError, match=message):
        score(kind, "a", "b")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("names_the_answer", {"wworth": 1}, r"options\.wworth is not .* did you mean worth\? \(one of worth\)"),
        ("judged", {"response": 1}, r"rewards\.0\.options\.response is not .*\(one of name\)"),
        ("nothing", {"cap": 1}, r"rewards\.0\.options\.cap is not an option of .*it takes none"),
        ("of_the_response_only", {}, r"a reward function is called as \(response, record\)"),
        ("upside_down", {}, r"low 1\.0 is above high 0\.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_reward_is_refused(
    kind: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        score(kind, "a", **options)
