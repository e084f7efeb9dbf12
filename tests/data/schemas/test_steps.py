"""Labelled steps: every way to state a label, rated alternatives, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medray.config.data import DataConfig
from medray.data.loading.mixture import open_source
from medray.data.source import BadRow, Row
from medray.types import Record

from ..helpers import write_jsonl

ASKED = {"prompt": "Which vitamin?"}


def rows(folder: Path, *given: dict[str, Any], kind: str = "auto") -> list[Row | BadRow]:
    path = write_jsonl(folder / "rows.jsonl", *given)
    return list(open_source(DataConfig(kind=kind, path=str(path))).rows)


def read(folder: Path, row: dict[str, Any]) -> Record:
    [found] = rows(folder, row)
    assert isinstance(found, Row), found
    return found.record


@pytest.mark.parametrize(
    ("row", "labels"),
    [
        ({**ASKED, "completions": ["a", "b"], "labels": [True, False]}, [1, 0]),
        ({**ASKED, "steps": ["a", "b"], "labels": ["+", "-"]}, [1, 0]),
        ({**ASKED, "steps": ["a", "b"], "values": [0.25, 0.75]}, [0.25, 0.75]),
        ({**ASKED, "steps": ["a", "b"], "q_values": [None, 0]}, [None, 0]),
        ({**ASKED, "steps": ["a", "b", "c"], "ratings": [1, 0, -1]}, [1, 1, 0]),
        ({**ASKED, "steps": [{"step": "a", "Q-value": 0.5}, {"step": "b"}]}, [0.5, None]),
        ({"problem": "?", "steps": ["a", "b", "c"], "label": 1, "generator": "x"}, [1, 0, None]),
        ({"problem": "?", "steps": ["a", "b"], "label": -1}, [1, 1]),
        ({"messages": [{"role": "user", "content": "?"}], "steps": ["a"], "scores": [1]}, [1]),
    ],
)
def test_labels(tmp_path: Path, row: dict[str, Any], labels: list[float | None]) -> None:
    record = read(tmp_path, row)
    assert [step.get("label") for step in record.steps] == labels
    assert [step["content"] for step in record.steps] == list("abc")[: len(labels)]
    assert record.messages[-1]["role"] == "user"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"steps": ["a"], "labels": [2]}, "'labels[0]' is 2; write a number from 0 to 1"),
        ({"steps": ["a"], "labels": [-1]}, "'labels[0]' is -1; write a number from 0 to 1"),
        ({"steps": ["a"], "ratings": [0.5]}, "'ratings[0]' is 0.5; write -1, 0 or 1"),
        ({"steps": ["a"], "labels": ["maybe"]}, "'labels[0]' is 'maybe'; write a finite number"),
        ({"steps": ["a", "b"], "values": [1]}, "'steps' has 2 steps and 'values' 1 labels"),
        ({"steps": ["a"], "label": 1}, "'label' is '1'; write the number of the first wrong step"),
        ({"steps": ["a"], "values": [None]}, "no step has a label"),
        ({"steps": ["a"]}, "no 'labels' of the steps"),
        ({"steps": ["a"], "values": [1], "scores": [1]}, "'values' and 'scores'; name one list"),
        ({"steps": [], "values": []}, "no 'steps' with a list of them"),
        ({"steps": ["a", " "], "values": [1, 1]}, "'steps[1]' is blank"),
        ({"steps": ["a"], "values": [1], "options": ["x", "y"]}, "does not read 'options'"),
    ],
)
def test_what_is_refused(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    [bad] = rows(tmp_path, {**ASKED, **row}, kind="steps")
    assert isinstance(bad, BadRow)
    assert message in str(bad)


def test_other_ways_to_take_a_step_are_solutions_of_their_own(tmp_path: Path) -> None:
    """The first step has a rejected way; at the second none is right, so that a person writes it; the third ends it."""
    steps = [
        {"completions": [_rated("bad", -1), _rated("good", 1)], "chosen_completion": 1},
        {"completions": [_rated("wrong", -1), _rated("unrated", None)], "chosen_completion": None,
         "human_completion": {"text": "written", "rating": None}},
        {"completions": [_rated("last", -1)], "chosen_completion": None, "human_completion": None},
    ]  # fmt: skip
    row = {"question": {"problem": "?", "ground_truth_answer": "4"}, "label": {"steps": steps}}
    found = rows(tmp_path, row)
    records = [r.record for r in found if isinstance(r, Row)]
    assert [[(s["content"], s.get("label")) for s in r.steps] for r in records] == [
        [("good", 1.0), ("written", 1.0)],
        [("bad", 0.0)],
        [("good", None), ("wrong", 0.0)],
        [("good", None), ("written", None), ("last", 0.0)],
    ]
    assert len({r.id for r in records}) == 4
    assert len({r.group_id for r in records}) == 1


def _rated(text: str, rating: int | None) -> dict[str, Any]:
    return {"text": text, "rating": rating, "flagged": None}


def test_tags_that_do_not_stand_where_labels_do_are_refused(tmp_path: Path) -> None:
    good = {"input": "Q Step 1: a ки\nStep 2: b ки", "label": "Q Step 1: a +\nStep 2: b -"}
    other = {**good, "label": "Q Step 1: a +\nStep 2: c -"}
    untagged = {**good, "input": good["input"] + "\nStep 3: c"}
    first, *bad = rows(tmp_path, good, other, untagged)
    assert isinstance(first, Row)
    assert "'label' is not 'input' up to the tag of step 2" in str(bad[0])
    assert "goes on after its last ки" in str(bad[1])
