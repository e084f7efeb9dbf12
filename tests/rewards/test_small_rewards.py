"""format, length, repetition and language, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.reward import RewardConfig
from medray.errors import ConfigError
from medray.rewards.format import has_form
from medray.rewards.registry import build_reward
from medray.rewards.repetition import distinct_share
from medray.types import Prompt, Record, Response

from .helpers import prompt, response

TA, HEAD = "think_answer", "headings"
H = "## Thinking\n\nHmm.\n\n## Final Response\n\nRest."


def score(kind: str, *texts: str, asked: str = "?", **options: Any) -> Any:
    record = Record(id="x", messages=({"role": "user", "content": asked},))
    reward = build_reward(RewardConfig(kind=kind, options=options))
    item = Prompt(record, np.array([1], np.int32))
    return reward.score(item, [response(text) for text in texts])


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (TA, "<think>a</think><answer>b</answer>", True), (TA, "<think>a</think>\n<answer>\nb\n</answer>\n", True),
        (TA, "a</think><answer>b</answer>", True), (TA, "<think>a</think>b", False), (TA, "<answer>b</answer>", False),
        (TA, "<think>a</think><answer></answer>", False), (TA, "<think>a</think>so<answer>b</answer>", False),
        (TA, "<think>a</think><answer>b</answer>!", False),
        (TA, "", False), (TA, "<think>a<answer>b</answer></think>", False),
        (TA, "<think>a</think><answer>b</answer><answer>c</answer>", False), (TA, "<think>a</think><answer>b", False),
        (TA, "<think>a</think></think><answer>b</answer>", False),
        (HEAD, H, True), (HEAD, H + "\n## Thinking\n", False), (HEAD, "Hi. " + H, False), (HEAD, H[14:], False),
        (HEAD, "## Final Response\nRest.\n## Thinking\nHmm.", False),
        (HEAD, "## Thinking\n\n## Final Response\n\nx", False),
        (HEAD, "## Thinking\nx\n## Final Response\n", False), (HEAD, H + "\n## Final Response\nx", False),
        ("boxed", r"so \boxed{5}", True), ("boxed", r"\boxed{5} \boxed{6}", False), ("boxed", "5", False),
        ("boxed", r"<think>\boxed{5}</think>", False), ("boxed", r"<think>\boxed{5}</think>\boxed{6}", True),
    ],
)  # fmt: skip
def test_forms(form: str, text: str, expected: bool) -> None:
    assert has_form(text, form) is expected


def test_own_pattern_and_the_end() -> None:
    assert score("format", "A.", "A", "B.\n", pattern=r"[A-D]\.").rewards == (1.0, 0.0, 0.0)
    reward = build_reward(RewardConfig(kind="format", options={"form": "boxed", "stopped": True}))
    ended = [response(r"\boxed{1}"), response(r"\boxed{1}", "length")]
    assert reward.score(prompt(""), ended).rewards == (1.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("format", {}, "set one of form and pattern"), ("format", {"form": "boxed", "pattern": "x"}, "set one of"),
        ("format", {"pattern": "("}, "is not a regular expression"),
        ("length", {"min": 9, "max": 3}, "min=9 is above max=3"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_reward(RewardConfig(kind=kind, options=options))


def test_length_falls_outside_the_bounds() -> None:
    texts = (
        "",
        "a b",
        "a b c d",
        "a b c d e",
        "a b c d e f g h i",
        "<think>long " + "x " * 99 + "</think>a b",
    )
    scored = score("length", *texts, unit="words", min=2, max=4, margin=2)
    assert scored.rewards == (0.0, 1.0, 1.0, 0.5, 0.0, 1.0)
    assert scored.parts["length"] == (0.0, 2.0, 4.0, 5.0, 9.0, 2.0)
    assert score("length", "a", "a b", unit="words", min=2).rewards == (0.0, 1.0), "at once"
    assert score("length", "胃炎三天", unit="words", max=3).rewards == (0.0,)


def test_length_in_tokens_counts_what_the_policy_sampled() -> None:
    heard = np.array([True, False, False, True])
    said = Response(
        np.arange(4, dtype=np.int32), np.zeros(4, np.float32), "x", "stop", sampled=heard
    )
    reward = build_reward(RewardConfig(kind="length", options={"max": 2}))
    assert reward.score(prompt(""), [said]).parts["length"] == (2.0,)


def test_repetition() -> None:
    # "a b a b a b": the bigrams ab ba ab ba ab; 2 of 5 differ.
    assert distinct_share(["a", "b", "a", "b", "a", "b"], 2) == pytest.approx(2 / 5)
    scored = score("repetition", "a b a b a b", "one two three", "", "<think>a b a b</think>c", n=2)
    assert scored.rewards == pytest.approx((2 / 5, 1.0, 1.0, 1.0), abs=0.5)
    assert score("repetition", "头痛头痛头痛", n=2).rewards == pytest.approx((2 / 5,))
    assert score("repetition", "<think>a b a b a b</think>c", n=2, thoughts=False).rewards == (1.0,)


@pytest.mark.parametrize(
    ("asked", "text", "expected"),
    [
        ("胃痛怎么办", "多休息", 1), ("胃痛怎么办", "Rest well", 0), ("胃痛怎么办", "建议做CT和MRI检查", 1),
        ("My stomach hurts", "Rest well", 1), ("My stomach hurts", "多休息", 0), ("My stomach hurts", "", 0),
        ("胃痛怎么办", "<think>He hurts a lot here</think>多休息", 1), ("胃痛怎么办", "42", 0),
        ("胃痛怎么办", r"\boxed{多休息}", 1),
    ],
)  # fmt: skip
def test_language_of_the_question(asked: str, text: str, expected: float) -> None:
    assert score("language", text, asked=asked).rewards == (expected,)


def test_a_fixed_language_and_the_thoughts() -> None:
    text = "<think>He hurts a lot here and there</think>多休息"
    assert score("language", text, language="zh").rewards == (1.0,)
    assert score("language", text, language="zh", thoughts=True).rewards == (0.0,)
    assert score("language", "多休息 rest", language="zh").parts["share"] == (0.75,)


@given(st.text() | st.text(alphabet="<think>/answer \n#a好"))
def test_any_text_at_all_is_graded(text: str) -> None:
    for kind, options in (("format", {"form": TA}), ("format", {"form": HEAD}), ("format", {"form": "boxed"}),
                          ("length", {}), ("repetition", {}), ("language", {})):  # fmt: skip
        [reward] = score(kind, text, asked=text, **options).rewards
        assert 0.0 <= reward <= 1.0
