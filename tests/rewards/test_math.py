"""Numbers, fractions, LaTeX and `####` against gold answers."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.math import MathReward, number_in, same_expression
from medray.rewards.registry import build_reward

from .helpers import prompt, response


def right(gold: str, text: str) -> float:
    return MathReward().score(prompt(gold), [response(text)]).rewards[0]


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("72", "72", 1), ("72", "The answer is 72.", 1), ("72", "#### 72", 1), ("72", r"\boxed{72}", 1),
        ("72", "<answer>72</answer>", 1), ("72", "She sold 48 + 24 = 72 clips.", 1), ("72", "72.0", 1),
        ("72", "72 clips", 1),
        ("72", "$72", 1), ("72", "71", 0), ("72", "<think>72</think>71", 0), ("72", "", 0), ("72", "72 or 73", 0),
        ("72", "#### 73", 0), ("72", r"\boxed{144/2}", 1), ("72", r"\boxed{\frac{144}{2}}", 1), ("72", "七十二", 1),
        ("72", "答案是72", 1), ("48 + 24 = 72\n#### 72", "72", 1), (r"so \boxed{72}", "72", 1), ("1,234", "1234", 1),
        ("1234", "1,234", 1), ("0.5", "1/2", 1), ("1/2", "0.5", 1), ("1/2", r"\frac{1}{2}", 1), ("50%", "0.5", 1),
        ("0.5", "50%", 1), (r"\frac{3}{4}", "0.75", 1), ("-3", "-3", 1), ("-3", "3", 0), ("3", "-3", 0),
        (r"\sqrt{2}", r"$\sqrt{2}$", 1), (r"\sqrt{2}", r"\boxed{\sqrt{2}}", 1), (r"2\sqrt{2}", r"\boxed{\sqrt{8}}", 1),
        (r"\sqrt{2}", r"\boxed{\sqrt{3}}", 0),
        (r"x^2+2x+1", r"\boxed{(x+1)^2}", 1), (r"\frac{\pi}{2}", r"$\pi/2$", 1),
        (r"\boxed{\frac{\sqrt{3}}{2}}", r"The value is $\frac{\sqrt{3}}{2}$.", 1),
        ("x+1", "x + 1", 1), ("x+1", "x+2", 0),
        ("食管克罗恩病", "食管克罗恩病", 1), ("食管克罗恩病", "答案是食管克罗恩病。", 1), ("食管克罗恩病", "胃炎", 0),
        ("aspirin", "The answer is aspirin", 1), ("aspirin", "72", 0),
    ],
)  # fmt: skip
def test_answers(gold: str, text: str, expected: float) -> None:
    assert right(gold, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1e3", 1000.0), ("$1,200", 1200.0), ("12%", 0.12), ("3 mg", None), ("x", None), ("1 2", None), ("1-2", None)],
)  # fmt: skip
def test_what_is_a_number(text: str, expected: float | None) -> None:
    assert number_in(text) == expected


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["9^{9^{9}}", "9^{99999}", "99999!", "((((" * 80, r"\sum_{n=1}^{\infty} n", r"2^{", "\\frac{1}{0}"]
)  # fmt: skip
def test_costly_and_broken_expressions_are_not_evaluated(text: str) -> None:
    assert right(r"\sqrt{2}", rf"\boxed{{{text}}}") == 0
    assert right("72", rf"\boxed{{{text}}}") == 0


def test_expressions_are_compared_off_the_main_thread_too() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(same_expression("(x+2)^2", "x^2+4x+4")))
    thread.start()
    thread.join()
    assert found == [True]


def test_parts_and_weights() -> None:
    reward = build_reward(RewardConfig(kind="math", options={"parsed": 0.1}))
    scored = reward.score(prompt("5"), [response("#### 5"), response("5"), response("#### 6")])
    assert scored.rewards == pytest.approx((1.1, 1.0, 0.1))
    assert scored.parts == {"right": (1, 1, 0), "parsed": (1, 0, 1)}
    assert (reward.low, reward.high) == (0.0, 1.1)
    with pytest.raises(ConfigError, match="both 0"):
        build_reward(RewardConfig(kind="math", options={"right": 0}))
    with pytest.raises(GraderError, match="record item-1 has no gold answer"):
        reward.score(prompt(""), [response("5")])


WRITTEN = ["{}", r"\boxed{{{}}}", "#### {:,}", "x = {}", "答案：{}", "<answer> {} </answer>"]


@given(st.integers(-(10**6), 10**6), st.sampled_from(WRITTEN))
def test_notation_does_not_change_a_verdict(n: int, written: str) -> None:
    assert right(str(n), written.format(n)) == 1
    assert right(str(n), written.format(n + 1)) == 0


@settings(max_examples=60, deadline=None)
@given(st.text() | st.text(alphabet="0123456789+-*/^(){}\\frac$ =xπ!.,%boxed"))
def test_any_text_at_all_is_graded(text: str) -> None:
    for gold in ("5", r"\sqrt{2}", "aspirin"):
        assert right(gold, text) in (0.0, 1.0)


def test_gold_answers_of_medicalgpts_sample_score_one(medray_data: Path) -> None:
    path = medray_data / "medicalgpt/grpo_sample.jsonl"
    answers = [json.loads(line)["answer"] for line in path.read_text("utf-8").splitlines()]
    assert [right(answer, answer) for answer in answers] == [1.0] * 32
    assert [right(answer, f"<think>?</think><answer>{answer}</answer>") for answer in answers] == [
        1.0
    ] * 32
