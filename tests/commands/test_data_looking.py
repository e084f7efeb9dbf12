"""`medray data sample`, `diff` and `report`."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from medray.data.inspecting.comparing import compare
from medray.data.inspecting.sampling import Reservoir
from medray.data.parsing.turns import chat
from medray.types import Record
from tests.commands.test_data import run
from tests.data.helpers import write_jsonl


def turns(asked: str, answered: str, **extra: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    said = [{"role": r, "content": t} for r, t in zip(roles, (asked, answered), strict=True)]
    return {"messages": said, **extra}


def test_a_reservoir_is_fair_and_repeats_itself() -> None:
    counts = Counter[int]()
    for seed in range(2000):
        drawn = Reservoir[int](3, seed)
        for item in range(12):
            drawn.add(item)
        assert drawn.items() == sorted(drawn.items())
        assert len(set(drawn.items())) == 3
        counts.update(drawn.items())
    assert all(420 < counts[item] < 580 for item in range(12))  # 500 expected
    few = Reservoir[str](3, 0)
    few.add("one")
    assert few.items() == ["one"]


def test_sample(tmp_path: Path) -> None:
    rows = [turns(f"Q{i}", f"A{i}") for i in range(50)]
    path = write_jsonl(tmp_path / "a.jsonl", *rows, {"messages": []})
    lines = run("sample", path, "-n", "4")
    drawn = [json.loads(line) for line in lines[:4]]
    assert all(row["medray"] == 1 for row in drawn)
    assert lines[4].startswith("skipped 1 (empty value, e.g. ")
    assert run("sample", path, "-n", "4") == lines
    assert run("sample", path, "-n", "4", "--seed", "1") != lines
    out = tmp_path / "few.jsonl"
    assert run("sample", path, "-n", "4", "--out", out)[0] == f"{out}: 4 rows of {path}"
    assert [json.loads(line) for line in out.read_text().splitlines()] == drawn


def test_diff_goes_by_what_rows_say(tmp_path: Path) -> None:
    first = [
        turns("Same?", "Yes."),
        turns("Old?", "Yes."),
        turns("Changed?", "Before."),
        turns("Same?", "Yes."),
    ]
    second = [
        {"conversations": [{"from": "human", "value": "Changed?"}, {"from": "gpt", "value": "After."}]},
        {"conversations": [{"from": "human", "value": "Same?"}, {"from": "gpt", "value": "Yes."}]},
        {"conversations": [{"from": "human", "value": "New?"}, {"from": "gpt", "value": "No."}]},
    ]  # fmt: skip
    a, b = write_jsonl(tmp_path / "a.jsonl", *first), write_jsonl(tmp_path / "b.jsonl", *second)
    lines = run("diff", a, b)
    assert lines == [
        f"A {a}: 4 rows",
        f"B {b}: 3 rows",
        "same: 1",
        f"changed: 1 ({a}:3 -> {b}:1)",
        f"only in A: 2 ({a}:4, {a}:2)",
        f"only in B: 1 ({b}:3)",
        "answers to the same user turn in both: 1",
    ]
    assert not any(word in "\n".join(lines) for word in ("Before", "After", "Old?"))
    numbers = json.loads("\n".join(run("diff", a, b, "--json")))
    assert numbers == {
        "rows": [4, 3],
        "same": 1,
        "changed": 1,
        "only_in_first": 2,
        "only_in_second": 1,
        "shared_turns": 1,
    }


def test_a_dataset_does_not_differ_from_itself() -> None:
    rows = [(f"a:{i}", Record(f"a:{i}", chat(user=f"Q{i % 3}", assistant="A"))) for i in range(7)]
    found = compare(rows, reversed(rows))
    assert (found.same, found.changed, found.only) == (7, (), ((), ()))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags = Counter[str]()
        self.open: list[str] = []
        self.trained: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.open.append("t" if ("class", "t") in attrs else tag)
        assert not {"src", "href"} & {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "t":
            self.trained.append(data)


def test_report(tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = "<script>alert('Ada Lovelace')</script>"
    rows = [turns(secret, f"Answer {i}") for i in range(30)]
    path = write_jsonl(tmp_path / "a&b.jsonl", *rows, {"messages": []}, {"text": "alone"})
    out = tmp_path / "report.html"
    with caplog.at_level(logging.DEBUG):
        lines = run("report", path, "--out", out, "--model", tiny_model, "--kind", "openai")
    assert lines == [f"{out}: 30 rows, 2 bad, 20 examples"]
    assert "Lovelace" not in caplog.text
    page = _Tags()
    page.feed(out.read_text())
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == 0
    assert page.tags["details"] == 20
    assert secret in page.text
    answers = [text for text in page.trained if text.startswith("Answer")]
    assert len(answers) == 20
    assert all(re.fullmatch(r"Answer \d+<\|im_end\|>", text) for text in answers)
    assert not any(secret in text for text in page.trained)
    for words in ("a&b.jsonl", "32, 2 of them bad", "Roles", "Languages", "empty value", "Lengths"):
        assert words in page.text


def test_report_of_pairs_and_rows_that_cannot_be_trained(tmp_path: Path, tiny_model: Path) -> None:
    pair = {"prompt": "Is it?", "chosen": "Yes, so.", "rejected": "No."}
    path = write_jsonl(tmp_path / "a.jsonl", pair)
    out = tmp_path / "report.html"
    options = ("--out", out, "--model", tiny_model)
    run("report", path, *options)
    page = _Tags()
    page.feed(out.read_text())
    assert [text for text in page.trained if "im_end" in text] == [
        "Yes, so.<|im_end|>",
        "No.<|im_end|>",
    ]
    run("report", path, *options, "--with", "chat.max_tokens=8")
    assert "too long: " in out.read_text()
    question = write_jsonl(tmp_path / "b.jsonl", {"messages": [{"role": "user", "content": "Q?"}]})
    run("report", question, *options)
    assert "it has nothing to train on" in out.read_text() or "stage pt" in out.read_text()
