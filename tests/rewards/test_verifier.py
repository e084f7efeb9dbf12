"""Equivalence with a reference: 1, 0.1 or 0, by each back end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.registry import build_reward
from medray.rewards.verifier import VerifierReward, final_answer
from medray.types import Prompt
from tests.support.scripted_judge import scripted_judge

from .helpers import prompt, response

HUATUO = "## Thinking\n\nHmm, fever.\n\n## Final Response\n\n{}"


def score(gold: str, *texts: str, **options: Any) -> tuple[float, ...]:
    reward = build_reward(RewardConfig(kind="verifier", options=options))
    return reward.score(prompt(gold), [response(text) for text in texts]).rewards


def test_one_a_tenth_or_nothing() -> None:
    texts = [
        HUATUO.format("Typhoid fever"),
        HUATUO.format("Malaria"),
        "Typhoid fever",
        HUATUO.format(""),
    ]
    assert score("typhoid fever", *texts, form="headings") == (1.0, 0.1, 0.0, 0.0)
    assert score("typhoid fever", *texts) == (1.0, 0.1, 1.0, 0.0)
    assert score("typhoid fever", "x", right=2, wrong=-1, unformed=-2) == (-1.0,)


@pytest.mark.parametrize(
    ("gold", "text", "exact", "fuzzy"),
    [
        ("typhoid fever", "Typhoid fever.", 1, 1), ("typhoid fever", "fever, typhoid", 0.1, 1),
        ("typhoid fever", "typhiod fever", 0.1, 1), ("typhoid fever", "malaria", 0.1, 0.1),
        ("typhoid fever", "<think>typhoid fever</think>", 0, 0), ("typhoid fever", "", 0, 0),
        ("typhoid fever", "<answer>typhoid fever</answer>", 1, 1), ("食管克罗恩病", "食管克罗恩病。", 1, 1),
        ("食管克罗恩病", "克罗恩病", 0.1, 0.1), ("aspirin 100 mg", "aspirin 1000 mg", 0.1, 0.1),
        ("aspirin 100 mg", "asprin 100 mg", 0.1, 1), ("9 + 1 = 10\n#### 10", "10", 1, 1), ("10", "11", 0.1, 0.1),
    ],
)  # fmt: skip
def test_without_a_judge(gold: str, text: str, exact: float, fuzzy: float) -> None:
    assert score(gold, text) == (exact,)
    assert score(gold, text, backend="fuzzy") == (fuzzy,)


def test_a_judge_sees_only_answers_in_the_form() -> None:
    def script(number: int, text: str) -> str:
        return '{"equivalent": true}' if "enteric" in text else '{"equivalent": false}'

    with scripted_judge(script) as (url, seen):
        judge = {"url": url, "model": "m"}
        texts = (HUATUO.format("Enteric: enteric fever"), HUATUO.format("Malaria"), "enteric fever")
        asked = prompt("typhoid fever")
        item = Prompt(replace(asked.record, answer="typhoid fever"), asked.token_ids)
        reward = build_reward(
            RewardConfig(
                kind="verifier", options={"backend": "judge", "judge": judge, "form": "headings"}
            )
        )
        scored = reward.score(item, [response(text) for text in texts])
        assert scored.rewards == (1.0, 0.1, 0.0)
        assert scored.parts == {"equivalent": (1.0, 0.0, 0.0), "formed": (1.0, 1.0, 0.0)}
        said = [body["messages"][0]["content"] for body in seen.bodies]
    assert len(said) == 2
    assert all("typhoid fever" in text and "user: ?" in text for text in said)
    assert not any("Hmm, fever" in text for text in said), "a thought is not an answer"


def test_a_failing_judge_is_no_wrong_answer() -> None:
    with scripted_judge(lambda number, text: 500) as (url, _):
        judge = {"url": url, "model": "m", "retries": 1, "backoff_s": 0.01}
        with pytest.raises(GraderError, match="status 500"):
            score("a", "b", backend="judge", judge=judge)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "judge"}, "judge goes with backend"), ({"judge": {"url": "http://x", "model": "m"}}, "judge goes"),
        ({"wrong": 1.0}, "right must be above wrong"), ({"unformed": 0.5}, "wrong at least unformed"),
        ({"backend": "nli"}, r"rewards\.0\.options\.backend"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        score("a", "b", **options)


def test_no_reference_is_a_failure() -> None:
    with pytest.raises(GraderError, match="record item-1 has no reference answer"):
        score("", "b")


def test_where_the_answer_is() -> None:
    assert final_answer(HUATUO.format("A")) == "A"
    assert final_answer("<think>x</think>The answer is B") == "B"
    assert final_answer("## Final Response\nA\n## Final Response\nB") == "B"


@given(st.text(), st.text(min_size=1).filter(lambda text: text.strip()))
def test_any_text_at_all_is_graded(text: str, gold: str) -> None:
    for backend in ("exact", "fuzzy"):
        reward = VerifierReward(VerifierReward.Options.model_validate({"backend": backend}))
        try:
            [found] = reward.score(prompt(gold), [response(text)]).rewards
        except GraderError:
            assert "####" in gold or "boxed" in gold
        else:
            assert found in (0.0, 0.1, 1.0)
