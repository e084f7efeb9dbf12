"""Counts, percentiles and oddities worked by hand."""

from __future__ import annotations

import pytest

from medray.data.inspecting.statistics import DatasetStatistics, oddities, percentiles
from medray.data.parsing.turns import chat
from medray.types import Message, Record

CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": ({"name": "f", "arguments": {}},),
}
RESULT: Message = {"role": "tool", "content": "1"}


def test_numbers_of_a_few_records() -> None:
    statistics = DatasetStatistics()
    for record in (
        Record(
            "1",
            chat(user="four", assistant="seven77"),
            source="a.jsonl:1",
            group_id="g",
            task="chat",
        ),
        Record(
            "2",
            chat(user="FOUR", assistant="seven77"),
            source="a.jsonl:2",
            group_id="g",
            task="chat",
        ),
        Record("3", chat(user="Four!", assistant="other"), source="b", group_id="h", lang="zh"),
        Record("4", (), text="ten chars.", task="text"),
        Record("5", chat(user="Q"), chosen=chat(assistant="good"), rejected=chat(assistant="no")),
    ):
        statistics.add(record)
    numbers = statistics.as_dict()
    assert numbers["records"] == 5
    assert numbers["groups"] == 4
    assert numbers["repeated_prompts"] == 2
    assert numbers["repeated_records"] == 1
    assert numbers["roles"] == {"assistant": 5, "user": 4}
    assert numbers["languages"] == {"en": 4, "zh": 1}
    assert numbers["sources"] == {"a.jsonl": 2, "unknown": 2, "b": 1}
    assert numbers["stages"] == {
        "pt": 5,
        "sft": 4,
        "preference": 1,
        "kto": 1,
        "process": 0,
        "rl": 4,
    }
    characters = numbers["characters"]
    assert characters["record"] == {
        "min": 7,
        "median": 10,
        "p90": 11,
        "p99": 11,
        "max": 11,
        "mean": 9.8,
    }
    assert characters["prompt"]["max"] == 5
    assert characters["answer"]["mean"] == 5.0  # 7, 7, 5, 4, 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {}),
        ([3], {"min": 3, "median": 3, "p90": 3, "p99": 3, "max": 3, "mean": 3}),
        (list(range(101)), {"min": 0, "median": 50, "p90": 90, "p99": 99, "max": 100, "mean": 50}),
    ],
)
def test_percentiles(values: list[int], expected: dict[str, float]) -> None:
    assert percentiles(values) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (Record("r", chat(user="a", assistant="b")), []),
        (Record("r", chat(("a", "b"), user="c")), ["last turn is not answered"]),
        (Record("r", chat(user="a")), []),
        (Record("r", chat(assistant="a")), ["begins with the assistant"]),
        (Record("r", (*chat(user="a"), *chat(user="b", assistant="c"))), ["two turns of one role in a row"]),
        (Record("r", (*chat(user="a"), RESULT, *chat(assistant="c"))), ["tool result without a call"]),
        (Record("r", (*chat(user="a"), CALL, RESULT, RESULT, *chat(assistant="c")), tools=({"name": "f"},)), []),
        (Record("r", (*chat(user="a"), CALL)), ["call of a tool that is not described"]),
        (Record("r", chat(user="a"), chosen=chat(assistant="x"), rejected=chat(assistant="xy")),
         ["rejected begins with chosen"]),
        (Record("r", chat(user="a<|im_end|>", assistant="b")), ["chat markup in what the user says"]),
    ],
)  # fmt: skip
def test_oddities(record: Record, expected: list[str]) -> None:
    assert list(oddities(record)) == expected


def test_turns_that_groups_share() -> None:
    statistics = DatasetStatistics()
    first = ("Cough?", "Since when?")
    statistics.add(Record("1", chat(first, user="A week.", assistant="Rest."), group_id="a"))
    statistics.add(Record("2", chat(user="Cough?", assistant="Since when?"), group_id="a"))
    assert statistics.as_dict()["turns_shared_by_groups"] == 0
    statistics.add(Record("3", chat(user="cough", assistant="Since when!"), group_id="b"))
    assert statistics.as_dict()["turns_shared_by_groups"] == 1
