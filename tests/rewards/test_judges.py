"""A judge that hangs, errs, lies or dies costs retries and then a named failure, never a reward."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from medray.config.grpo import GrpoJob
from medray.config.judges import JudgeConfig
from medray.config.loader import validated
from medray.config.reward import RewardConfig
from medray.errors import ConfigError, GraderError
from medray.rewards.judges.client import Judge, JudgeFailed, Question, template_hash
from medray.rewards.judges.parsing import Unusable, parse_verdict
from medray.rewards.registry import build_reward
from tests.support.scripted_judge import Script, scripted_judge

from .helpers import prompt, response


class Verdict(BaseModel):
    met: bool
    explanation: str = ""


YES, NO = '{"met": true, "explanation": "it does"}', '{"met": false}'
FAST: dict[str, Any] = {"backoff_s": 0.01, "timeout_s": 0.5, "deadline_s": 20}


def question(text: str, check: Any = None) -> Question[Verdict]:
    return Question(({"role": "user", "content": text},), Verdict, "t1", check)


def judge_at(url: str, **settings: Any) -> Judge:
    return Judge(JudgeConfig.model_validate({"url": url, "model": "tiny", **FAST, **settings}))


def asked(script: Script, *texts: str, **settings: Any) -> tuple[list[bool], int]:
    """Verdicts on the texts, and how many requests they took."""
    with scripted_judge(script) as (url, seen):
        found = judge_at(url, **settings).ask([question(text) for text in texts])
        return [verdict.met for verdict in found], len(seen.bodies)


def once(failure: Any) -> Script:
    """Fails the first request, and answers the others."""
    return lambda number, text: failure if number == 0 else YES


@pytest.mark.parametrize(
    "failure",
    ["hang", 500, 502, 503, 429, 408, "die", "half", b"<html>", b"{}", b'{"choices": []}',
     '{"met": tr', "I think so.", '{"met": "maybe"}', '{"meet": true}', "", "[]", '{"met": 1}', "{"],
)  # fmt: skip
def test_one_failure_of_any_kind_costs_one_request_more(failure: Any) -> None:
    assert asked(once(failure), "a") == ([True], 2)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("hang", r"judge judge \(tiny at http://127.*no answer in 2 tries: no answer within 0\.2 s"),
        (500, "no answer in 2 tries: status 500"), (429, "status 429"), ("die", "no answer in 2 tries: "),
        ("half", "no answer in 2 tries: "), (b"<html>", "the reply is not a chat completion"),
        ("I think so.", "2 unusable answers, the last: no JSON object in it"),
        ('{"met": "maybe"}', "2 unusable answers, the last: met: Input should be a valid boolean"),
        ('{"meet": true}', "the last: met: Field required"),
    ],
)  # fmt: skip
def test_a_lasting_failure_is_named_and_is_a_graders(failure: Any, message: str) -> None:
    with pytest.raises(JudgeFailed, match=message) as caught:
        asked(lambda number, text: failure, "a", retries=1, repairs=1, timeout_s=0.2)
    assert isinstance(caught.value, GraderError)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    with scripted_judge(lambda number, text: status) as (url, seen):
        with pytest.raises(JudgeFailed, match=f"status {status}"):
            judge_at(url).ask([question("a")])
        assert len(seen.bodies) == 1


def test_nobody_listens() -> None:
    with pytest.raises(JudgeFailed, match="ConnectError"):
        judge_at("http://127.0.0.1:9/v1", retries=1).ask([question("a")])


def test_the_deadline_ends_the_retries() -> None:
    with pytest.raises(JudgeFailed, match=r"no answer within deadline_s=0\.5"):
        asked(lambda number, text: "hang", "a", deadline_s=0.5, timeout_s=0.2, retries=100)


def test_a_disturbed_judge_gives_the_verdicts_of_an_undisturbed_one() -> None:
    texts = [f"text {i}" for i in range(24)]
    failures = ["hang", 500, 429, '{"met": tr', '{"wrong": 1}', "die", "half"]

    def verdict(number: int, text: str) -> str:
        return YES if int(text.split()[1]) % 3 else NO

    def disturbed(number: int, text: str) -> Any:
        if text.startswith("That is not the JSON"):
            return NO if number % 2 else YES  # answered by what stands before, below
        return failures[number % len(failures)] if number < 14 else verdict(number, text)

    calm, _ = asked(verdict, *texts)
    assert calm == [bool(i % 3) for i in range(24)]
    with scripted_judge(disturbed) as (url, seen):
        judge = judge_at(url, repairs=0, concurrency=4)
        found: list[bool] = []
        for text in texts:  # as a grader does: a group that failed is graded again
            for _ in range(9):
                try:
                    found += [v.met for v in judge.ask([question(text)])]
                    break
                except JudgeFailed:
                    continue
        assert found == calm
        assert len(seen.bodies) > len(texts)


def test_what_was_wrong_is_said_when_asking_again() -> None:
    with scripted_judge(once("yes!")) as (url, seen):
        judge_at(url).ask([question("a")])
    first, second = (body["messages"] for body in seen.bodies)
    assert [m["role"] for m in second] == ["user", "assistant", "user"]
    assert second[:1] == first
    assert second[1]["content"] == "yes!"
    assert "no JSON object in it" in second[2]["content"]


def test_a_check_refuses_verdicts_of_the_form() -> None:
    def check(verdict: Verdict) -> None:
        if not verdict.explanation:
            raise ValueError("no explanation")

    with scripted_judge(lambda number, text: YES if number else NO) as (url, seen):
        [found] = judge_at(url).ask([question("a", check)])
    assert found.met
    assert len(seen.bodies) == 2


def test_requests_run_together_up_to_the_limit() -> None:
    with scripted_judge(lambda number, text: YES) as (url, seen):
        seen.answer_s = 0.05
        judge = judge_at(url, concurrency=5)
        threads = [
            threading.Thread(target=judge.ask, args=([question(f"{g} {i}") for i in range(8)],))
            for g in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seen.bodies) == 32
    assert seen.most_at_once == 5, "over all groups that are graded at once"


def test_rewards_of_a_process_share_a_judge_and_its_limit() -> None:
    with scripted_judge(lambda number, text: '{"equivalent": true}') as (url, seen):
        seen.answer_s = 0.05
        judge = {"url": url, "model": "m", "concurrency": 3}
        terms = [
            RewardConfig(kind="verifier", options={"backend": "judge", "judge": judge, "wrong": w})
            for w in (0.1, 0.2)
        ]
        rewards = [build_reward(term) for term in terms]
        said = [response(f"answer {i}") for i in range(6)]
        threads = [threading.Thread(target=r.score, args=(prompt("x"), said)) for r in rewards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seen.bodies) == 12
    assert seen.most_at_once == 3


def test_verdicts_are_cached_by_all_that_they_depend_on(tmp_path: Path) -> None:
    cache = str(tmp_path / "verdicts")
    with scripted_judge(lambda number, text: YES) as (url, seen):
        judge_at(url, cache=cache).ask([question("a"), question("b")])
        judge_at(url, cache=cache).ask([question("a"), question("b"), question("c")])
        assert len(seen.bodies) == 3, "a resumed run asks for what is missing"
        for other in ({"model": "big"}, {"temperature": 0.5}, {"max_tokens": 9}, {"seed": 1}):
            judge_at(url, cache=cache, **other).ask([question("a")])
        assert len(seen.bodies) == 7
        judge_at(url, cache=cache).ask([Question(question("a").messages, Verdict, "t2")])
        assert len(seen.bodies) == 8, "another template"
    files = sorted((tmp_path / "verdicts").rglob("*.json"))
    assert len(files) == 8
    assert json.loads(files[0].read_text())["judge"].keys() >= {"model", "temperature", "template"}


def test_a_damaged_cache_file_is_asked_for_again(tmp_path: Path) -> None:
    with scripted_judge(lambda number, text: YES) as (url, seen):
        judge = judge_at(url, cache=str(tmp_path))
        judge.ask([question("a")])
        [path] = tmp_path.rglob("*.json")
        for damaged in ("", '{"verdict": {"met": "x"}}', "[]"):
            path.write_text(damaged)
            assert judge.ask([question("a")])[0].met
            assert json.loads(path.read_text())["verdict"]["met"] is True
        assert len(seen.bodies) == 4


def test_failures_are_not_cached_and_the_others_verdicts_are(tmp_path: Path) -> None:
    def script(number: int, text: str) -> Any:
        return 400 if text == "bad" else YES

    with scripted_judge(script) as (url, seen):
        judge = judge_at(url, cache=str(tmp_path))
        for _ in range(2):
            with pytest.raises(JudgeFailed):
                judge.ask([question("a"), question("bad"), question("b")])
        assert len(seen.bodies) == 4, "a and b once, bad twice"


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARD_KEY", "k-123")
    with scripted_judge(lambda number, text: YES) as (url, seen):
        judge_at(url, api_key_variable="WARD_KEY", seed=7, structured=True).ask([question("a")])
    assert seen.headers[0]["Authorization"] == "Bearer k-123"
    body = seen.bodies[0]
    assert (body["model"], body["temperature"], body["seed"]) == ("tiny", 0.0, 7)
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["met"]
    monkeypatch.delenv("WARD_KEY")
    with pytest.raises(JudgeFailed, match="WARD_KEY is not set"):
        judge_at(url, api_key_variable="WARD_KEY").ask([question("a")])


@pytest.mark.parametrize(
    "text",
    [YES, f"```json\n{YES}\n```", f"Sure!\n{YES}", f"<think>{NO}</think>{YES}", '{"met": true', "{met: true}",
     "{'met': True}", '{"met": true,}', f"{YES}\nI hope that helps {{}}", f"```\n{NO}\n```\n```json\n{YES}\n```"],
)  # fmt: skip
def test_json_that_can_be_read(text: str) -> None:
    assert parse_verdict(text, Verdict).met is True


@given(st.text() | st.text(alphabet='{}[]":,metrufals \n`'))
def test_any_text_is_a_verdict_or_unusable(text: str) -> None:
    with contextlib.suppress(Unusable):
        assert isinstance(parse_verdict(text, Verdict).met, bool)


def test_template_hashes_differ() -> None:
    assert template_hash("a") == template_hash("a") != template_hash("b")
    assert template_hash("a", "b") != template_hash("ab")


JUDGES = {"ward": {"url": "http://judge:8000/v1", "model": "m"}}


def test_a_reward_names_a_judge() -> None:
    rewards = [{"kind": "verifier", "options": {"backend": "judge", "judge": "ward"}}]
    job = validated(GrpoJob, {"judges": JUDGES, "rewards": rewards})
    assert job.rewards[0].options["judge"]["model"] == "m"
    assert job.rewards[0].options["judge"]["name"] == "ward"
    assert validated(GrpoJob, job.model_dump(mode="json")) == job


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ({"ward": {"url": "judge:8000", "model": "m"}}, r"judges\.ward\.url: .*is no URL"),
        (
            {"ward": {"url": "http://x/v1", "model": "m", "top": 1}},
            r"unknown key judges\.ward\.top",
        ),
    ],
)
def test_a_judge_that_cannot_be_asked_is_refused(judges: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validated(GrpoJob, {"judges": judges})
