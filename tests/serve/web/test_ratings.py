"""What people rate is read by `data.path`."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from medray.config.data import DataConfig
from medray.data.loading.load import load_dataset
from medray.serve.web.ratings import PAIRS, RATED, Ratings

PROMPT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why do I cough?"},
]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("better_first", [True, False])
def test_two_answers_to_one_question_make_a_pair(tmp_path: Path, better_first: bool) -> None:
    ratings = Ratings(tmp_path)
    rated = [("good", True), ("bad", False)]
    for text, liked in rated if better_first else reversed(rated):
        ratings.rate(PROMPT, text, liked=liked)
        ratings.rate(PROMPT, text, liked=liked)
    ratings.rate([*PROMPT, {"role": "user", "content": "x"}], "other", liked=False)
    assert len(_rows(tmp_path / RATED)) == 3
    (pair,) = _rows(tmp_path / PAIRS)
    assert pair["chosen"] == [{"role": "assistant", "content": "good"}]
    assert pair["rejected"] == [{"role": "assistant", "content": "bad"}]
    assert pair["prompt"] == PROMPT


def test_a_changed_mind_is_stored_too(tmp_path: Path) -> None:
    ratings = Ratings(tmp_path)
    ratings.rate(PROMPT, "a", liked=True)
    ratings.rate(PROMPT, "a", liked=False)
    assert [row["label"] for row in _rows(tmp_path / RATED)] == [True, False]
    assert not _rows(tmp_path / PAIRS), "an answer is not better than itself"


def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    Ratings(tmp_path / "new").rate(PROMPT, "a", liked=True)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / RATED).stat().st_mode) == 0o600


@pytest.mark.parametrize(("name", "stage"), [(PAIRS, "preference"), (RATED, "kto")])
def test_both_files_are_data_for_training(tmp_path: Path, name: str, stage: Any) -> None:
    ratings = Ratings(tmp_path)
    for i in range(3):
        prompt = [{"role": "user", "content": f"question {i}"}]
        ratings.rate(prompt, "good", liked=True)
        ratings.rate(prompt, "bad", liked=False)
    dataset = load_dataset(DataConfig(path=str(tmp_path / name), num_eval=0), stage=stage)
    records = list(dataset.train)
    assert len(records) == (3 if name == PAIRS else 6)
    assert {record.task for record in records} == {"preference"}
    assert any(record.chosen[0]["content"] == "good" for record in records if record.chosen)
    assert any(record.rejected[0]["content"] == "bad" for record in records if record.rejected)
