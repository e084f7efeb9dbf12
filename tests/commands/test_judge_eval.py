"""`medray judge-eval` and its figures."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from medray.rewards.judges.agreement import agreement
from tests.support.command import medray_here
from tests.support.scripted_judge import scripted_judge


def test_agreement_by_hand() -> None:
    # 20 + 15 of 50 agree; chance is 0.5 * 0.6 + 0.5 * 0.4 (the example of Cohen's kappa).
    verdicts = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    labels = [True] * 25 + [False] * 25
    found = agreement(verdicts, labels)
    assert (found.count, found.accuracy) == (50, 0.7)
    assert found.kappa == pytest.approx(0.4)
    # F1 of true: 2 * 20 / (30 + 25); of false: 2 * 15 / (20 + 25).
    assert found.macro_f1 == pytest.approx((40 / 55 + 30 / 45) / 2)
    assert agreement([True, False], [True, False]).kappa == 1.0
    assert agreement([True, True], [True, False]).kappa == 0.0
    assert agreement([True], [True]).kappa == 0.0
    with pytest.raises(ValueError, match="0 verdicts and 0 labels"):
        agreement([], [])


def test_a_judge_of_known_error_has_its_kappa() -> None:
    rng = random.Random(1)
    labels = [rng.random() < 0.5 for _ in range(20_000)]
    verdicts = [label if rng.random() < 0.9 else not label for label in labels]
    assert agreement(verdicts, labels).kappa == pytest.approx(0.8, abs=0.02)


def settings(folder: Path, url: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(
        f"judges: {{ward: {{url: '{url}', model: m, backoff_s: 0.01, retries: 1}}}}\n"
        "rewards: [{kind: verifier, options: {backend: judge, judge: ward}}]\n"
    )
    return path


def rows_in(folder: Path, *rows: object) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(response: str, label: object) -> dict[str, object]:
    return {"question": "What is it?", "answer": "flu", "response": response, "label": label}


def test_the_command_compares_a_judge_with_labels(tmp_path: Path) -> None:
    def script(number: int, text: str) -> object:
        if "broken" in text:
            return 500
        return '{"equivalent": true}' if "influenza" in text else '{"equivalent": false}'

    given = [
        ("influenza", True),
        ("influenza A", True),
        ("cold", False),
        ("influenza?", False),
        ("broken", True),
    ]
    with scripted_judge(script) as (url, _):
        config = settings(tmp_path, url)
        outcome = medray_here(
            "judge-eval", str(config), str(rows_in(tmp_path, *(row(*one) for one in given)))
        )
    assert outcome.code == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert (found["count"], found["accuracy"], found["failed"]) == (4, 0.75, 1)
    assert found["kappa"] == pytest.approx(0.5)
    assert "status 500" in found["first_failure"]
    [judge] = found["judges"]
    assert (judge["judge"], judge["model"], judge["temperature"]) == ("ward", "m", 0.0)
    assert len(judge["templates"]["verifier"]) == 12


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([row("x", "yes")], (), r"rows.jsonl:1: label is 'yes': write true or false"),
        ([{"question": "x", "label": True}], (), "rows.jsonl:1: write question and response as texts"),
        ([3], (), "rows.jsonl:1: a row is an object"), ([], (), "no row got a verdict"),
        ([row("flu", True)], ("--part", "verifier/right"), "--part verifier/right: the rewards report verifier/"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(
    rows: list[object], options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    config = tmp_path / "job.yaml"
    config.write_text("rewards: [{kind: verifier}]\n")
    outcome = medray_here("judge-eval", str(config), str(rows_in(tmp_path, *rows)), *options)
    assert outcome.code == 2
    assert message in outcome.stderr
