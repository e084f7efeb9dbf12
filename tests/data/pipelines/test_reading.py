"""The one order of rows: windows, sides, mixtures, and going on in the middle."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medray.config.prepare import PrepareJob
from medray.data.pipelines.reading import Window, read_windows
from medray.errors import DataError
from tests.data.helpers import write_jsonl
from tests.support.prepare import chat_file, prepare_job


def lines(job: PrepareJob, **options: Any) -> list[dict[str, Any]]:
    return [row for table in read_windows(job, **options) for row in table.to_pylist()]


def windows(rows: list[dict[str, Any]]) -> dict[int, Window]:
    marks = [(row["window"], json.loads(row["mark"])) for row in rows if row["mark"]]
    return {w: Window(m["num_read"], m["sha256"]) for w, m in marks if "num_read" in m}


def test_windows_end_after_so_many_rows(tmp_path: Path) -> None:
    path = chat_file(tmp_path / "a.jsonl", 40)
    rows = lines(prepare_job(tmp_path / "out", {"path": str(path)}))
    assert Counter(r["window"] for r in rows if r["record"]) == {0: 16, 1: 16, 2: 8}
    assert [w.num_read for w in windows(rows).values()] == [16, 32, 40]
    last = json.loads(rows[-1]["mark"])
    assert list(last["sha256"]) == ["a.jsonl"]
    assert [r["where"] for r in rows if r["record"]] == [f"{path}:{i}" for i in range(1, 41)]


def test_a_window_ends_early_when_rows_are_long(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", *({"text": "x" * 600_000} for _ in range(4)))
    job = prepare_job(tmp_path / "out", {"path": str(path)}, stage="pt", shards={"max_mb": 1})
    assert Counter(r["window"] for r in lines(job) if r["record"]) == {0: 2, 1: 2}


def test_going_on_gives_what_would_have_come(tmp_path: Path) -> None:
    job = prepare_job(tmp_path / "out", {"path": str(chat_file(tmp_path / "a.jsonl", 70))})
    whole = lines(job)
    done = windows(whole)
    rest = lines(job, first=2, before=done[1])
    assert rest == [row for row in whole if row["window"] >= 2]
    nothing_left = lines(job, first=5, before=done[4])
    assert [row["window"] for row in nothing_left] == [5]


def test_changed_rows_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    job = prepare_job(tmp_path / "out", {"path": str(chat_file(path, 70))})
    done = windows(lines(job))
    chat_file(path, 70, seed=1)
    with pytest.raises(DataError, match="begun with other data: its first 32 rows"):
        lines(job, first=2, before=done[1])
    chat_file(path, 20)
    with pytest.raises(DataError, match="remove the folder"):
        lines(job, first=2, before=done[1])


def test_bad_rows_and_unfit_rows_keep_their_places(tmp_path: Path) -> None:
    good = {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}
    path = write_jsonl(tmp_path / "a.jsonl", good, "{", {"conversations": []}, good)
    rows = lines(prepare_job(tmp_path / "out", {"path": str(path)}))
    assert [r["reason"] for r in rows[:4]] == [None, "bad JSON", "empty value", None]
    assert [r["where"][-2:] for r in rows[:4]] == [":1", ":2", ":3", ":4"]
    rows = lines(prepare_job(tmp_path / "out", {"path": str(path)}, stage="preference"))
    assert rows[0]["reason"] == "unfit for preference"


def test_sides_are_those_of_the_groups(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    path = write_jsonl(
        tmp_path / "a.jsonl",
        *({"patient": f"p{i // 5}", "conversations": turns} for i in range(200)),
    )
    job = prepare_job(
        tmp_path / "out", {"path": str(path), "group_key": "patient", "held_out_fraction": 0.3}
    )
    sides: dict[str, set[bool]] = {}
    for row in lines(job):
        if row["record"]:
            sides.setdefault(json.loads(row["record"])["group_id"], set()).add(row["held_out"])
    assert all(len(found) == 1 for found in sides.values())
    assert 4 <= sum(found == {True} for found in sides.values()) <= 20


def test_rows_of_eval_path_come_first_and_take_their_groups_along(tmp_path: Path) -> None:
    train = chat_file(tmp_path / "train.jsonl", 20)
    held_out = tmp_path / "eval.jsonl"
    held_out.write_text("".join(train.read_text().splitlines(keepends=True)[3:5]))
    job = prepare_job(tmp_path / "out", {"path": str(train), "eval_path": str(held_out)})
    rows = [r for r in lines(job) if r["record"]]
    assert [r["part"] for r in rows[:3]] == ["eval", "eval", ""]
    assert [i for i, r in enumerate(rows) if r["held_out"]] == [0, 1, 5, 6]


def test_sources_of_a_mixture_are_spread_over_the_whole(tmp_path: Path) -> None:
    large, small = (
        chat_file(tmp_path / "a.jsonl", 300),
        chat_file(tmp_path / "b.jsonl", 100, seed=1),
    )
    sources = [{"path": str(large)}, {"path": str(small), "weight": 2.0}]
    rows = [r for r in lines(prepare_job(tmp_path / "out", {"sources": sources})) if r["record"]]
    assert Counter(r["part"] for r in rows) == {"0": 300, "1": 100}
    for start in range(0, 400, 100):
        assert 15 <= sum(r["part"] == "1" for r in rows[start : start + 100]) <= 35
    assert {r["part"]: r["weight"] for r in rows} == {"0": 1.0, "1": 2.0}


def test_a_cap_spreads_the_rows_it_leaves(tmp_path: Path) -> None:
    paths = [chat_file(tmp_path / f"{name}.jsonl", 300) for name in "ab"]
    sources = [{"path": str(paths[0])}, {"path": str(paths[1]), "max_rows": 30}]
    rows = [r for r in lines(prepare_job(tmp_path / "out", {"sources": sources})) if r["record"]]
    assert Counter(r["part"] for r in rows) == {"0": 300, "1": 30}
    assert sum(r["part"] == "1" for r in rows[:110]) < 20
