"""Dialogues given once per turn, each time one turn longer, stay on one side of a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medray.config.data import DataConfig
from medray.data.inspecting.partition import write_split
from medray.data.loading.load import load_dataset
from medray.data.parsing.grouping import dialogue_group
from medray.data.parsing.turns import chat
from tests.data.helpers import write_jsonl


def expanded(*, greeting: bool = False, layout: str = "messages") -> list[dict[str, Any]]:
    """Twelve dialogues of four turns as 48 rows."""
    rows: list[dict[str, Any]] = []
    for n in range(12):
        turns: list[tuple[str, str]] = [("Hello, doctor!", "Hello.")] if greeting else []
        for k in range(4):
            turns.append((f"case {n} question {k}?", f"case {n} answer {k}."))
            if layout == "alpaca":
                rows.append(
                    {
                        "instruction": turns[-1][0],
                        "output": turns[-1][1],
                        "history": [list(t) for t in turns[:-1]],
                    }
                )
            else:
                roles = ("user", "assistant")
                said = [
                    {"role": r, "content": t}
                    for turn in turns
                    for r, t in zip(roles, turn, strict=True)
                ]
                rows.append({"messages": said})
    return rows  # fmt: skip


@pytest.mark.parametrize("layout", ["messages", "alpaca"])
@pytest.mark.parametrize("greeting", [False, True])
def test_no_answer_is_on_both_sides(tmp_path: Path, layout: str, greeting: bool) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", *expanded(greeting=greeting, layout=layout))
    dataset = load_dataset(DataConfig(path=str(path), num_eval=8))
    train, held_out = (
        {m["content"] for r in side for m in r.messages if "case" in m["content"]}
        for side in (dataset.train, dataset.held_out)
    )
    assert len(dataset.held_out) == 8
    assert not train & held_out


def test_split_counts_shared_turns(tmp_path: Path) -> None:
    rows = [{**row, "row": str(i)} for i, row in enumerate(expanded())]
    path = str(write_jsonl(tmp_path / "rows.jsonl", *rows))
    grouped = write_split(DataConfig(path=path), tmp_path / "grouped", "jsonl", num_eval=8)
    assert (grouped.shared_turns, grouped.held_out_turns) == (0, 8)
    apart = DataConfig(path=path, group_key="row")
    split = write_split(apart, tmp_path / "apart", "jsonl", num_eval=12)
    assert split.shared_turns > 5
    assert any(
        line.startswith(
            f"{split.shared_turns} of {split.held_out_turns} held-out answers also stand in training rows"
        )
        for line in split.lines()
    )
    manifest = json.loads((tmp_path / "apart" / "split.json").read_text())
    assert manifest["shared_turns"] == split.shared_turns


def test_groups_of_dialogues() -> None:
    whole = chat(("Hi", "Hello"), ("My head hurts.", "Since when?"), user="Today.")
    assert dialogue_group(whole) == dialogue_group(whole[:4])
    assert dialogue_group(whole) == dialogue_group(chat(user="my head hurts"))
    assert dialogue_group(whole) != dialogue_group(whole[:2])
    assert dialogue_group(chat(user="你好，医生")) == dialogue_group(chat(user="你好医生"))
    assert dialogue_group(chat(user="Hi, my head hurts.")) != dialogue_group(chat(user="Hi"))
    assert dialogue_group(()) == ""
