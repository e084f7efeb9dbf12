"""Streams of rows: both sides of the split, accounted for, in constant memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.config.data import DataConfig
from medray.errors import DataError

from ..helpers import records_of, write_jsonl


def questions(count: int) -> list[Any]:
    return [{"question": f"q{i}?", "answer": "x", "group": str(i // 3)} for i in range(count)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), fraction=st.floats(0, 0.9), count=st.integers(1, 60))
def test_the_sides_share_no_group_and_lose_no_row(
    tmp_path_factory: pytest.TempPathFactory, seed: int, fraction: float, count: int
) -> None:
    path = write_jsonl(tmp_path_factory.mktemp("stream") / "q.jsonl", *questions(count))
    config = DataConfig(path=str(path), kind="qa", seed=seed, held_out_fraction=fraction)
    train = list(records_of(config, "train"))
    held_out = list(records_of(config, "held_out"))
    assert sorted([*train, *held_out], key=lambda r: int(r.id[8:])) == list(
        records_of(config.model_copy(update={"held_out_fraction": 0.0}))
    )
    assert not {r.group_id for r in train} & {r.group_id for r in held_out}


def test_the_fraction_is_about_right(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "q.jsonl", *questions(9000))
    held_out = list(
        records_of(DataConfig(path=str(path), kind="qa", held_out_fraction=0.1), "held_out")
    )
    assert 780 < len(held_out) < 1020


def test_rows_of_eval_path_hold_out_their_groups(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", *questions(6))
    other = write_jsonl(tmp_path / "eval.jsonl", {"question": "new", "answer": "x", "group": "1"})
    config = DataConfig(path=str(train), eval_path=str(other))
    assert [r.id for r in records_of(config)] == [f"train.jsonl:{i}" for i in (1, 2, 3)]
    assert [r.id for r in records_of(config, "held_out")] == [
        "eval/eval.jsonl:1",
        *(f"train.jsonl:{i}" for i in (4, 5, 6)),
    ]


def test_rows_for_evaluation_only_never_train(tmp_path: Path) -> None:
    row = {
        "prompt_id": "h",
        "prompt": [{"role": "user", "content": "?"}],
        "rubrics": [{"criterion": "c", "points": 1}],
    }
    path = write_jsonl(tmp_path / "h.jsonl", row)
    assert list(records_of(DataConfig(path=str(path)), "train")) == []
    assert [r.id for r in records_of(DataConfig(path=str(path)), "held_out")] == ["h"]


def test_rows_that_do_not_fit_the_stage_are_bad_rows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "t.jsonl", {"text": "x"})
    with pytest.raises(DataError, match=r"t\.jsonl:1: unfit for sft: it has no assistant turn"):
        list(records_of(DataConfig(path=str(path)), stage="sft"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}?", "answer": "x" * 2000} for i in range(4000)]
    path = write_jsonl(tmp_path / "q.jsonl", *rows)
    tracemalloc.start()
    count = sum(1 for _ in records_of(DataConfig(path=str(path), kind="qa")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count > 3900
    assert peak < path.stat().st_size / 2
