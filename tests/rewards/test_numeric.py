"""Numbers with units: hand-made outputs, tolerances, and what must not change a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.numeric import NumericOptions, NumericReward
from medray.rewards.registry import build_reward
from medray.types import Message, Prompt

from .helpers import prompt, response
from .numeric_outputs import rows

ROWS = rows()


def checks(item: Prompt, text: str, **options: Any) -> dict[str, float]:
    scored = NumericReward(NumericOptions(**options)).score(item, [response(text)])
    return {part: values[0] for part, values in scored.parts.items()}


def asked(question: str, answer: str, **extra: object) -> Prompt:
    item = prompt(answer)
    messages: tuple[Message, ...] = ({"role": "user", "content": question},)
    return Prompt(replace(item.record, messages=messages, extra=extra), item.token_ids)


def test_there_are_two_hundred_outputs() -> None:
    assert len(ROWS) >= 200
    assert len(set(ROWS)) == len(ROWS)


@pytest.mark.parametrize(("gold", "text", "verdict"), ROWS)
def test_outputs(gold: str, text: str, verdict: str) -> None:
    found = checks(prompt(gold), text)
    said = (
        "-" if not found["parsed"] else "y" if found["right"] else "t" if found["ten_fold"] else "n"
    )
    assert said == verdict


@pytest.mark.parametrize(
    ("options", "text", "right"),
    [
        ({"absolute": 0.5}, "10.5", 1.0), ({"absolute": 0.5}, "10.51", 0.0), ({"relative": 0.05}, "9.5", 1.0),
        ({"relative": 0.05}, "9.49", 0.0), ({"relative": 0, "absolute": 0}, "10.0", 1.0),
        ({"relative": 0, "absolute": 0}, "10.001", 0.0), ({"absolute": 0.1, "relative": 0.05}, "10.4", 1.0),
    ],
)  # fmt: skip
def test_tolerances(options: dict[str, float], text: str, right: float) -> None:
    assert checks(prompt("10"), text, **options)["right"] == right


@pytest.mark.parametrize(
    ("extra", "text", "right"),
    [
        ({"output_type": "integer"}, "10", 1.0), ({"output_type": "integer"}, "10.2", 0.0),
        ({"output_type": "decimal", "lower_limit": "9", "upper_limit": "11"}, "9.0", 1.0),
        ({"output_type": "decimal", "lower_limit": "9", "upper_limit": "11"}, "8.9", 0.0),
        ({"output_type": "decimal"}, "10.5", 1.0), ({"output_type": "decimal"}, "10.51", 0.0),
    ],
)  # fmt: skip
def test_medcalc_tolerance(extra: dict[str, object], text: str, right: float) -> None:
    assert checks(asked("?", "10", **extra), text, medcalc=True)["right"] == right


def test_the_question_says_what_is_measured() -> None:
    item = asked("What is her glucose?", "100 mg/dL")
    assert checks(item, "5.55 mmol/L")["right"] == 1.0
    assert checks(asked("?", "100 mg/dL", substance="glucose"), "5.55 mmol/L")["right"] == 1.0
    assert checks(asked("?", "100 mg/dL"), "5.55 mmol/L", substance="glucose")["right"] == 1.0
    assert checks(asked("?", "100 mg/dL"), "5.55 mmol/L")["right"] == 0.0
    assert (
        checks(asked("?", "88.4", unit="umol/L"), "1 mg/dL", substance="creatinine")["right"] == 1.0
    )


def test_a_missing_unit() -> None:
    assert checks(prompt("5 mg"), "5")["unit_given"] == 0.0
    assert checks(prompt("5 mg"), "5", unit_required=True)["right"] == 0.0
    assert checks(prompt("5"), "5", unit_required=True)["right"] == 1.0
    assert checks(prompt("5"), "5000 mcg", unit="mg", unit_required=True)["right"] == 1.0


def test_weights_and_bounds() -> None:
    reward = build_reward(RewardConfig(kind="numeric", options={"parsed": 0.1, "ten_fold": -1}))
    scored = reward.score(prompt("5 mg"), [response(t) for t in ("5 mg", "6 mg", "50 mg", "no")])
    assert scored.rewards == pytest.approx((1.1, 0.1, -0.9, 0.0))
    assert (reward.low, reward.high) == (-1.0, 1.1)
    assert reward.score(prompt("5"), []).rewards == ()
    with pytest.raises(ConfigError, match="all weights are 0"):
        build_reward(RewardConfig(kind="numeric", options={"right": 0}))


@pytest.mark.parametrize(
    ("answer", "extra"), [("", {}), ("aspirin", {}), ("5 or 6", {}), ("5", {"unit": "parsecs"})]
)
def test_a_gold_answer_that_is_not_a_number_is_a_failure(
    answer: str, extra: dict[str, object]
) -> None:
    with pytest.raises(GraderError, match="record item-1"):
        NumericReward().score(asked("?", answer, **extra), [response("5")])


WRITTEN = [
    "{x:.4f} {u}", "The answer is {x:.4f}{u}.", "<answer>{x:.4f} {u}</answer>", r"\boxed{{{x:.4f}\text{{ {u}}}}}",
    "答案是{x:.4f}{u}。",
    "**{x:.4f} {u}**", "<think>1 or 2 {u}</think>\n{x:.4f} {u}", "#### {x:,.4f} {u}", "{x:.6e} {u}",
]  # fmt: skip
SAME = [("mg", 1.0), ("mcg", 1000.0), ("g", 0.001), ("毫克", 1.0), ("milligrams", 1.0)]


@given(st.floats(1.0, 9999.0), st.sampled_from(WRITTEN), st.sampled_from(SAME))
def test_notation_and_unit_do_not_change_a_verdict(
    x: float, write: str, unit: tuple[str, float]
) -> None:
    name, factor = unit
    item = prompt(f"{x:.4f} mg")
    assert checks(item, write.format(x=x * factor, u=name), absolute=0.06)["right"] == 1.0
    wrong = checks(item, write.format(x=x * factor * 10, u=name), absolute=0.06)
    assert (wrong["right"], wrong["ten_fold"]) == (0.0, 1.0)


@given(st.text() | st.lists(st.sampled_from([
    "5", "mg", "半", "十", "百分之", "one", "half", " ", "-", "/", ".", ",", "10^", "\\frac{", "}", "<answer>", "####",
    "e9999", "点", "万", "1/0", "and a", "$", "=", "or", "²", "%",
]), max_size=30).map("".join))  # fmt: skip
def test_any_text_at_all_is_graded(text: str) -> None:
    [reward] = NumericReward().score(prompt("5 mg"), [response(text)]).rewards
    assert reward in (0.0, 1.0)
