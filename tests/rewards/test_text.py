from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.errors import GraderError
from medray.rewards.text import TextOptions, TextReward, final_text, token_f1, tokens

from .helpers import prompt, response


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Vitamin A", ("vitamin", "a")),
        ("A 1,000 mg dose; 2.5%", ("a", "1,000", "mg", "dose", "2.5%")),
        ("-3", ("-3",)),
        ("100-45", ("100", "45")),
        ("食管，克罗恩", ("食", "管", "克", "罗", "恩")),
        ("Ｂ型 HBV", ("b", "型", "hbv")),
        ("ＭＧ。", ("mg",)),
        ("+", ("+",)),
        ("", ()),
    ],
)
def test_tokens(text: str, expected: tuple[str, ...]) -> None:
    assert tokens(text) == expected


def test_f1_by_hand() -> None:
    # 2 of 3 words shared with a gold of 4: precision 2/3, recall 2/4, F1 = 4/7.
    assert token_f1(("acute", "renal", "failure"), ("acute", "failure", "of", "kidney")) == (
        pytest.approx(4 / 7)
    )
    assert token_f1(("a", "a", "a"), ("a", "b")) == pytest.approx(2 / 5)  # repeats count once here
    assert token_f1((), ("a",)) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Typhoid fever", 1.0),
        ("typhoid  FEVER.", 1.0),
        ("The answer is typhoid fever.", 1.0),
        ("<think>malaria</think>Typhoid fever", 1.0),
        ("I think <answer>typhoid fever</answer>", 1.0),
        (r"So \boxed{typhoid fever}", 1.0),
        ("fever", 0.5 * 2 / 3),
        ("fever typhoid", 0.5),
        ("malaria", 0.0),
        ("<think>typhoid fever</think>", 0.0),
        ("<think>typhoid fever", 0.0),
        ("", 0.0),
    ],
)
def test_english(text: str, expected: float) -> None:
    score = TextReward().score(prompt("Typhoid fever"), [response(text)])
    assert score.rewards == (pytest.approx(expected),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("食管克罗恩病", 1.0),
        ("答案是：食管克罗恩病。", 1.0),
        ("克罗恩病", 0.5 * 2 * 4 / (4 + 6)),
        ("胃炎", 0.0),
    ],
)
def test_chinese(text: str, expected: float) -> None:
    score = TextReward().score(prompt("食管克罗恩病"), [response(text)])
    assert score.rewards == (pytest.approx(expected),)


def test_number_answers() -> None:
    texts = ["3", "3.", "答案：3", r"\boxed{3}", "2 + 1\n#### 3", "13", "-3"]
    score = TextReward().score(prompt("3"), [response(t) for t in texts])
    assert score.parts["exact"] == (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
    gsm8k = TextReward().score(prompt("2 + 1 = 3\n#### 3"), [response("3")])
    assert gsm8k.rewards == (1.0,)


def test_weights_and_parts() -> None:
    reward = TextReward(TextOptions(exact=1.0, f1=0.2, stopped=0.3))
    score = reward.score(prompt("malaria"), [response("malaria"), response("malaria", "length")])
    assert score.rewards == pytest.approx((1.5, 1.2))
    assert score.parts == {"exact": (1.0, 1.0), "f1": (1.0, 1.0), "stopped": (1.0, 0.0)}
    assert (reward.low, reward.high) == (0.0, 1.5)


def test_missing_reference_cannot_be_graded() -> None:
    with pytest.raises(GraderError, match="item-1 has no reference"):
        TextReward().score(prompt(" "), [response("x")])


def test_final_text_takes_the_last_marked_answer() -> None:
    assert final_text("<answer>a</answer> or <answer>b</answer>") == "b"
    assert final_text("x") == "x"


@given(st.text(min_size=1, max_size=80).filter(lambda t: t.strip() and "<" not in t))
def test_the_reference_itself_never_scores_less_than_another_text(answer: str) -> None:
    if "####" in answer or "\\boxed" in answer:
        return
    reward = TextReward()
    own, other = reward.score(prompt(answer), [response(answer), response("unrelated")]).rewards
    assert own >= other
    assert 0.0 <= own <= 1.0


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_f1_is_symmetric_and_bounded(a: list[str], b: list[str]) -> None:
    assert token_f1(a, b) == pytest.approx(token_f1(b, a))
    assert 0.0 <= token_f1(a, b) <= 1.0
    assert (token_f1(a, b) == 1.0) == (sorted(a) == sorted(b) and bool(a))


def test_gold_copied_verbatim_scores_full_on_medicalgpt_sample(medray_data: Path) -> None:
    path = medray_data / "medicalgpt/grpo_sample.jsonl"
    answers = [json.loads(line)["answer"] for line in path.read_text("utf-8").splitlines()]
    plain = [TextReward().score(prompt(a), [response(a)]).rewards[0] for a in answers]
    tagged = [
        TextReward().score(prompt(a), [response(f"<think>1+1</think><answer>{a}</answer>")])
        for a in answers
    ]
    assert plain == [1.0] * 32
    assert [s.rewards[0] for s in tagged] == [1.0] * 32
