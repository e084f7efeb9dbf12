from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.choice import ChoiceOptions, ChoiceReward
from medray.rewards.registry import build_reward

from .helpers import prompt, response

OPTIONS = ("Cholera", "Typhoid fever", "Malaria", "Dengue fever")
ITEM = prompt("B", OPTIONS)
YES_NO = prompt("no", ("yes", "no", "maybe"))


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("B", "stop", 1.0),
        ("B. Typhoid fever", "stop", 1.0),
        ("B", "length", 0.7),
        ("C", "stop", 0.4),
        ("C", "length", 0.1),
        ("The answer is B", "stop", 0.9),
        ("A is wrong, B", "stop", 0.9),
        ("A patient", "stop", 0.3),
        ("A patient", "length", 0.0),
        ("", "stop", 0.3),
        ("<think>B</think>", "stop", 0.3),
        ("B, C", "stop", 0.4),
        ("B", "abort", 0.7),
    ],
)
def test_recipe_pays_parts(text: str, finish, expected: float) -> None:
    score = ChoiceReward().score(ITEM, [response(text, finish)])
    assert score.rewards == (pytest.approx(expected),)


def test_parts_are_plain_checks_per_response() -> None:
    responses = [response("B"), response("C", "length"), response("I think it is B.", "length")]
    score = ChoiceReward(ChoiceOptions(parsed=0.2, right=2.0, stopped=0.0)).score(ITEM, responses)
    assert score.parts == {
        "parsed": (1.0, 1.0, 0.0),
        "right": (1.0, 0.0, 1.0),
        "stopped": (1.0, 0.0, 0.0),
    }
    assert score.rewards == pytest.approx((2.2, 0.2, 2.0))


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("B", "stop", 1.0),
        (" B\n", "stop", 1.0),
        ("B", "length", 0.0),
        ("B.", "stop", 0.0),
        ("b", "stop", 0.0),
        ("The answer is B", "stop", 0.0),
        ("C", "stop", 0.0),
        ("", "stop", 0.0),
    ],
)
def test_strict_gate(text: str, finish, expected: float) -> None:
    reward = ChoiceReward(ChoiceOptions(strict=True))
    assert reward.score(ITEM, [response(text, finish)]).rewards == (expected,)
    assert (reward.low, reward.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("no", 1.0), ("No.", 1.0), ("No it does not", 1.0), ("maybe", 0.4), ("unclear", 0.3)],
)
def test_closed_question(text: str, expected: float) -> None:
    score = ChoiceReward().score(YES_NO, [response(text)])
    assert score.rewards == (pytest.approx(expected),)


def test_strict_closed_question_ignores_case_only() -> None:
    reward = ChoiceReward(ChoiceOptions(strict=True))
    texts = [response(t) for t in ("No", "no", "no.", "yes")]
    assert reward.score(YES_NO, texts).rewards == (1.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("ABD", 1.0),
        ("A, B, D", 1.0),
        ("D、B、A", 1.0),
        ("答案：ABD", 1.0),
        ("AB", 0.0),
        ("ABCD", 0.0),
        ("A", 0.0),
    ],
)
def test_several_letters_match_as_a_set(text: str, right: float) -> None:
    item = prompt("ABD", ("甲", "乙", "丙", "丁"))
    assert ChoiceReward().score(item, [response(text)]).parts["right"] == (right,)


def test_gold_letters_in_any_order() -> None:
    item = prompt("DBA", OPTIONS)
    assert ChoiceReward().score(item, [response("ABD")]).parts["right"] == (1.0,)


def test_no_responses_give_empty_columns() -> None:
    score = ChoiceReward().score(ITEM, [])
    assert score.rewards == ()
    assert score.parts == {"parsed": (), "right": (), "stopped": ()}


def test_record_that_is_no_choice_cannot_be_graded() -> None:
    with pytest.raises(GraderError, match=r"item-9 is not a multiple-choice.*kind: text"):
        ChoiceReward().score(prompt("fever", id="item-9"), [response("B")])


def test_bounds_follow_the_weights() -> None:
    reward = ChoiceReward(ChoiceOptions(parsed=-0.5, right=1.0, stopped=0.25))
    assert (reward.low, reward.high) == (-0.5, 1.25)


def test_bad_options_name_the_key() -> None:
    bad = RewardConfig(kind="choice", options={"rihgt": 1})
    with pytest.raises(ConfigError, match=r"rewards\.2\.options\.rihgt: did you mean right\?"):
        build_reward(bad, "rewards.2")
    nothing = RewardConfig(kind="choice", options={"parsed": 0, "right": 0, "stopped": 0})
    with pytest.raises(ConfigError, match="all responses tie"):
        build_reward(nothing)
    with pytest.raises(ConfigError, match=r"options\.right"):
        build_reward(RewardConfig(kind="choice", options={"right": float("nan")}))
    with pytest.raises(ConfigError, match=r"options\.right: expected a number"):
        build_reward(RewardConfig(kind="choice", options={"right": True}))


TEMPLATES = (
    "{l}",
    "{l}. {t}",
    "({l})",
    "The answer is {l}.",
    "{x} is wrong, {l}",
    "答案：{l}",
    "<answer>{l}</answer>",
    r"\boxed{{{l}}}",
    "{t}",
    "It is {t}.",
    "<think>{x}</think>{l}",
    "{l} or {x}",
    "A patient with fever",
)


@given(
    order=st.permutations(range(4)),
    gold=st.integers(0, 3),
    said=st.integers(0, 3),
    offset=st.integers(1, 3),
    template=st.sampled_from(TEMPLATES),
    finish=st.sampled_from(["stop", "length"]),
    strict=st.booleans(),
)
def test_reward_does_not_depend_on_the_order_of_options(
    order: list[int], gold: int, said: int, offset: int, template: str, finish, strict: bool
) -> None:
    reward = ChoiceReward(ChoiceOptions(strict=strict))
    other = (said + offset) % 4

    def graded(positions: list[int]):
        """Score with option i standing at `positions[i]`, all letters renamed accordingly."""
        options = tuple(OPTIONS[positions.index(place)] for place in range(4))
        letter = [string.ascii_uppercase[place] for place in positions]
        text = template.format(l=letter[said], t=OPTIONS[said], x=letter[other])
        return reward.score(prompt(letter[gold], options), [response(text, finish)])

    plain, permuted = graded([0, 1, 2, 3]), graded(order)
    assert plain == permuted
    if said == gold and "{x}" not in template and "fever" not in template:
        assert plain.parts["right"] == (1.0,)


@given(
    texts=st.lists(
        st.text(alphabet="ABCDE abcd.,:()是答案选不错or\n<>/think", max_size=60), max_size=4
    ),
    parsed=st.floats(-2, 2),
    right=st.floats(-2, 2),
    stopped=st.floats(0.1, 2),
)
def test_rewards_stay_in_bounds_whatever_the_text(
    texts: list[str], parsed: float, right: float, stopped: float
) -> None:
    reward = ChoiceReward(ChoiceOptions(parsed=parsed, right=right, stopped=stopped))
    score = reward.score(ITEM, [response(text) for text in texts])
    assert all(reward.low <= r <= reward.high for r in score.rewards)
    assert all(set(column) <= {0.0, 1.0} for column in score.parts.values())


@given(st.text(max_size=200))
def test_any_text_at_all_is_graded(text: str) -> None:
    for item in (ITEM, YES_NO):
        (reward,) = ChoiceReward().score(item, [response(text)]).rewards
        assert 0.0 <= reward <= 1.0
