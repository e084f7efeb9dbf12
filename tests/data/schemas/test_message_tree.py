"""Trees of messages: every path a chat, every answer trained once, ranked answers a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medray.config.data import DataConfig
from medray.data.loading.mixture import open_source
from medray.data.source import BadRow, Row

from ..helpers import write_jsonl


def message(
    id: str, parent: str | None, role: str, rank: int | None = None, tree: str = "t"
) -> dict[str, Any]:
    place = {"message_id": id, "parent_id": parent, "message_tree_id": tree}
    return {**place, "role": role, "text": f"<{id}>", "rank": rank}


TREE = [
    message("q", None, "prompter"),
    message("bad", "q", "assistant", 1),
    message("good", "q", "assistant", 0),
    message("more", "good", "prompter"),
    message("end", "more", "assistant", 0),
    message("thanks", "end", "prompter"),
]


def rows(tmp_path: Path, *given: Any, **settings: Any) -> list[Row | BadRow]:
    path = write_jsonl(tmp_path / "rows.jsonl", *given)
    return list(open_source(DataConfig(path=str(path), **settings)).rows)


def said(row: Row | BadRow) -> list[tuple[str, bool]]:
    assert isinstance(row, Row), row
    return [(m["content"], m.get("trained", True)) for m in row.record.messages]


def test_every_path_is_a_chat_and_every_answer_is_trained_once(tmp_path: Path) -> None:
    long, short = rows(tmp_path, *TREE)
    assert said(long) == [("<q>", True), ("<good>", True), ("<more>", True), ("<end>", True)]
    assert said(short) == [("<q>", True), ("<bad>", True)]
    assert isinstance(long, Row)
    assert isinstance(short, Row)
    assert long.record.group_id == short.record.group_id
    assert long.where != short.where


def test_an_answer_that_two_paths_share_is_trained_in_the_first(tmp_path: Path) -> None:
    tree = [*TREE[:1], TREE[2], message("m1", "good", "prompter"), message("e1", "m1", "assistant"),
            message("m2", "good", "prompter"), message("e2", "m2", "assistant")]  # fmt: skip
    one, other = rows(tmp_path, *tree)
    assert said(one)[1] == ("<good>", True)
    assert said(other)[1] == ("<good>", False)
    assert said(other)[3] == ("<e2>", True)


def test_ranked_answers_are_pairs(tmp_path: Path) -> None:
    found = rows(tmp_path, *TREE, kind="message-tree-pairs")
    [pair] = [row for row in found if isinstance(row, Row)]
    assert [m["content"] for m in (*pair.record.messages, *pair.record.chosen, *pair.record.rejected)] == [
        "<q>", "<good>", "<bad>"
    ]  # fmt: skip
    assert all(row.is_left_out for row in found if isinstance(row, BadRow))


def test_trees_are_told_apart_and_strays_are_named(tmp_path: Path) -> None:
    other = [message("x", None, "prompter", tree="u"), message("y", "x", "assistant", tree="u")]
    stray = message("z", "nowhere", "assistant", tree="u")
    found = rows(tmp_path, *TREE[:2], *other, stray)
    groups = {row.record.group_id for row in found if isinstance(row, Row)}
    assert len(groups) == 2
    [bad] = [row for row in found if isinstance(row, BadRow)]
    assert bad.reason == "no parent"
    assert bad.where.endswith(":5")


def test_a_tree_in_one_row(tmp_path: Path) -> None:
    tree = {"message_tree_id": "t", "prompt": {"message_id": "q", "role": "prompter", "text": "<q>", "replies": [
        {"message_id": "bad", "role": "assistant", "text": "<bad>", "rank": 1, "replies": []},
        {"message_id": "good", "role": "assistant", "text": "<good>", "rank": 0, "replies": []}]}}  # fmt: skip
    one, other = rows(tmp_path, tree)
    assert said(one) == [("<q>", True), ("<good>", True)]
    assert said(other) == [("<q>", True), ("<bad>", True)]
    assert isinstance(one, Row)
    assert isinstance(other, Row)
    assert one.record.id != other.record.id
