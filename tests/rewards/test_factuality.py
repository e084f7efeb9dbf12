"""Claims of an answer against given evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.factuality import claims_of, evidence_of
from medray.rewards.registry import build_reward
from medray.types import Prompt
from tests.support.scripted_judge import scripted_judge

from .helpers import prompt, response

EVIDENCE = "Metformin 500 mg lowered HbA1c by 1.1% in 120 adults. No severe hypoglycemia occurred."


def item(**extra: Any) -> Prompt:
    asked = prompt("")
    return Prompt(replace(asked.record, extra={"evidence": EVIDENCE, **extra}), asked.token_ids)


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("It lowers sugar. It is safe.", ("It lowers sugar.", "It is safe.")),
        ("- **It lowers sugar**\n- It is safe", ("It lowers sugar", "It is safe")),
        ("1. It lowers sugar.\n2) It is safe.", ("It lowers sugar.", "It is safe.")),
        ("它能降糖。它很安全！", ("它能降糖。", "它很安全！")),
        ("The dose is 2.5 mg daily.", ("The dose is 2.5 mg daily.",)),
        ("Is that all right? Yes. Sure.", ()),
        ("<think>It is deadly.</think>It is safe.", ("It is safe.",)),
        ("It is safe. It is safe.", ("It is safe.",)),
        ("", ()),
    ],
)
def test_claims(text: str, claims: tuple[str, ...]) -> None:
    assert claims_of(text) == claims


def test_overlap_by_hand() -> None:
    reward = build_reward(RewardConfig(kind="factuality", options={"backend": "overlap"}))
    texts = [
        "Metformin lowered HbA1c by 1.1%.", "Metformin lowered HbA1c by 2.2%.",
        "Metformin lowered HbA1c. Bananas cure everything known.", "", "Yes.",
    ]  # fmt: skip
    scored = reward.score(item(), [response(text) for text in texts])
    assert scored.rewards == (1.0, 0.0, 0.5, 0.0, 0.0)
    assert scored.parts["num_claims"] == (1.0, 1.0, 2.0, 0.0, 0.0)


def by_words(number: int, text: str) -> str:
    claim = text.partition("# Claim")[2].partition("# Task")[0]
    verdict = "supported" if "good" in claim else "contradicted" if "bad" in claim else "unknown"
    return f'{{"verdict": "{verdict}"}}'


def test_a_judge_sees_each_claim_once(tmp_path: Path) -> None:
    with scripted_judge(by_words) as (url, seen):
        options = {"judge": {"url": url, "model": "m", "cache": str(tmp_path)}}
        reward = build_reward(RewardConfig(kind="factuality", options=options))
        texts = [
            "This is good. That is bad.",
            "This is good. Who can know?",
            "That is bad. Nobody knows that.",
        ]
        scored = reward.score(item(), [response(text) for text in texts])
        assert scored.rewards == (0.0, 1.0, -0.5)
        assert scored.parts["supported"] == (0.5, 1.0, 0.0)
        assert scored.parts["contradicted"] == (0.5, 0.0, 0.5)
        assert len(seen.bodies) == 3, "three different claims"
        assert all(EVIDENCE in body["messages"][0]["content"] for body in seen.bodies)
        reward.score(item(), [response("That is bad. So it is good.")])
        assert len(seen.bodies) == 4, "one new claim"


def test_claims_beyond_the_limit_count_as_unsupported() -> None:
    options = {"backend": "overlap", "max_claims": 2}
    reward = build_reward(RewardConfig(kind="factuality", options=options))
    text = (
        "Metformin lowered HbA1c. No severe hypoglycemia occurred. Metformin 500 mg. In 120 adults."
    )
    assert reward.score(item(), [response(text)]).rewards == (0.5,)


def test_where_the_evidence_is() -> None:
    assert evidence_of(item().record, "evidence") == EVIDENCE
    assert evidence_of(item(passages=["a", " ", "b"]).record, "passages") == "a\n\nb"
    assert evidence_of(item().record, "question") == "?"
    for extra, key in (({}, "x"), ({"x": ""}, "x"), ({"x": 3}, "x"), ({"x": [3]}, "x")):
        with pytest.raises(GraderError, match="record item-1"):
            evidence_of(item(**extra).record, key)


def test_a_failing_judge_is_no_verdict() -> None:
    with scripted_judge(lambda number, text: '{"verdict": "fine"}') as (url, _):
        options = {"judge": {"url": url, "model": "m", "repairs": 1}}
        reward = build_reward(RewardConfig(kind="factuality", options=options))
        with pytest.raises(GraderError, match="2 unusable answers, the last: verdict"):
            reward.score(item(), [response("It is safe.")])
    with pytest.raises(ConfigError, match="judge goes with backend"):
        build_reward(RewardConfig(kind="factuality", options={}))


@given(st.text())
def test_any_text_at_all_is_graded(text: str) -> None:
    reward = build_reward(RewardConfig(kind="factuality", options={"backend": "overlap"}))
    [found] = reward.score(item(), [response(text)]).rewards
    assert -1.0 <= found <= 1.0
