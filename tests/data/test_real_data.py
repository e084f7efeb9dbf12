"""Real files: every row is counted, and none is lost without a word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from medray.config.data import DataConfig
from medray.data.detection import detect
from medray.data.loading.mixture import open_source
from medray.data.loading.raw_rows import open_raw_rows
from medray.data.loading.stages import Stage, fits
from medray.data.source import BadRow, Row
from medray.types import Record

BLANK_TURN = "empty value"
FILES: dict[str, tuple[str, int, dict[str, int], set[Stage]]] = {
    "medicalgpt/medical_sft_1K_format.jsonl": ("sharegpt", 1000, {}, {"sft"}),
    "medicalgpt/sharegpt_zh_1K_format.jsonl": ("sharegpt", 1000, {BLANK_TURN: 1}, {"rl"}),
    "medicalgpt/glaive_toolcall_zh_demo.jsonl": ("sharegpt", 300, {}, {"sft"}),
    "medicalgpt/dpo_zh_500.jsonl": ("preference", 500, {}, {"preference", "kto", "sft", "rl"}),
    "medicalgpt/toolcall_dpo_zh_demo.jsonl": ("preference", 11, {}, {"preference", "kto", "sft"}),
    "medicalgpt/grpo_sample.jsonl": ("qa", 32, {}, {"rl", "sft"}),
    "medicalgpt/rag_medical_corpus.txt": ("qa", 87, {}, {"rl", "sft"}),
    "medicalgpt/pretrain_en_article.txt": ("text", 66, {}, {"pt"}),
    "medquad/medquad.jsonl": ("medquad", 5469, {}, {"sft", "pt", "rl"}),
    "ultramedical/examples.json": ("ultramedical", 50, {}, {"sft", "rl"}),
    "zh_dialogue/internal_medicine_gb18030.csv": ("zh-dialogue", 7644, {}, {"sft", "rl"}),
}
"""File -> its schema, rows (documents), bad rows by reason, stages that every good row fits."""


def read(path: Path) -> tuple[list[Record], list[BadRow]]:
    rows = list(open_source(DataConfig(path=str(path))).rows)
    good = [row.record for row in rows if isinstance(row, Row)]
    return good, [row for row in rows if isinstance(row, BadRow)]


@pytest.mark.parametrize("name", FILES)
def test_every_row_of_the_file(medray_data: Path, name: str) -> None:
    kind, num_rows, num_bad, stages = FILES[name]
    path = medray_data / name
    [raw] = open_raw_rows(DataConfig(path=str(path)))
    assert detect(raw).name == kind
    good, bad = read(path)
    assert len(good) + len(bad) == num_rows
    assert Counter(row.reason for row in bad) == num_bad
    assert len({record.id for record in good}) == len(good)
    for stage in stages:
        assert [record.id for record in good if not fits(record, stage)] == []


def test_the_whole_folder_at_once(medray_data: Path) -> None:
    good, bad = read(medray_data)
    assert len(good) == sum(rows for _, rows, _, _ in FILES.values()) - 1 + 1000  # PubMedQA
    assert len({record.id for record in good}) == len(good)
    [row] = bad
    assert row.where.endswith("medicalgpt/sharegpt_zh_1K_format.jsonl:59")


def test_chats_keep_every_turn(medray_data: Path) -> None:
    good, _ = read(medray_data / "medicalgpt/sharegpt_zh_1K_format.jsonl")
    roles = Counter(message["role"] for record in good for message in record.messages)
    blank_row = {"user": 29, "assistant": 29}  # line 59
    assert roles == {
        "user": 4379 - blank_row["user"],
        "assistant": 4372 - blank_row["assistant"],
    }
    assert sum(record.messages[-1]["role"] == "user" for record in good) == 7


def test_tool_calls_keep_every_call_and_result(medray_data: Path) -> None:
    good, _ = read(medray_data / "medicalgpt/glaive_toolcall_zh_demo.jsonl")
    messages = [message for record in good for message in record.messages]
    assert Counter(m["role"] for m in messages) == {
        "user": 722,
        "assistant": 724 + 216,
        "tool": 218,
    }
    assert sum(len(m.get("tool_calls", ())) for m in messages) == 216
    assert sum(bool(record.tools) for record in good) == 200


def test_calls_in_preferences_are_read_from_their_text(medray_data: Path) -> None:
    good, _ = read(medray_data / "medicalgpt/toolcall_dpo_zh_demo.jsonl")
    calls = [r.chosen[0]["tool_calls"][0]["name"] for r in good if "tool_calls" in r.chosen[0]]
    assert calls == [
        "get_weather", "query_appointment", "modify_appointment", "calculate_bmi", "search_literature",
        "get_drug_info",
    ]  # fmt: skip


def test_exam_items_have_their_options(medray_data: Path) -> None:
    good, _ = read(medray_data / "ultramedical/examples.json")
    exams = [record for record in good if record.task == "choice"]
    assert Counter(record.source for record in exams) == {
        "UltraMedical/Exam": 20,
        "UltraMedical/Literature": 5,
    }
    assert all(record.answer in "ABCDE"[: len(record.options)] for record in exams)


def test_languages_and_encoding(medray_data: Path) -> None:
    good, _ = read(medray_data / "zh_dialogue/internal_medicine_gb18030.csv")
    assert Counter(record.lang for record in good)["zh"] == len(good)
    assert all(record.extra["department"] for record in good)
