from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medray.config.data import DataConfig
from medray.data.loading.load import load_dataset
from medray.errors import DataError

ARTICLE = {
    "QUESTION": "Does it help?",
    "CONTEXTS": ["We asked.", "It did."],
    "final_decision": "yes",
    "LONG_ANSWER": "It helps.",
}


def write(folder: Path, rows: Any, test: Any = None) -> Path:
    path = folder / "ori_pqal.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")
    if test is not None:
        (folder / "test_ground_truth.json").write_text(json.dumps(test), encoding="utf-8")
    return path


def load(path: Path, **settings: object):
    return load_dataset(
        DataConfig.model_validate(
            {"kind": "pubmedqa", "path": str(path), "num_eval": 0, **settings}
        )
    )


def test_record(tmp_path: Path) -> None:
    (record,) = load(write(tmp_path, {"123": ARTICLE})).train
    assert record.messages[0]["content"] == (
        "Abstract:\nWe asked.\nIt did.\n\nQuestion: Does it help?\n\nAnswer yes, no or maybe."
    )
    assert (record.id, record.group_id, record.answer) == ("123", "123", "yes")
    assert record.options == ("yes", "no", "maybe")
    assert "It helps." not in str(record)  # the conclusion would give the answer away


def test_official_split(tmp_path: Path) -> None:
    rows = {str(i): ARTICLE for i in range(10)}
    path = write(tmp_path, rows, {"2": "yes", "4": "yes", "999": "no"})
    dataset = load(path, num_eval=2)
    assert {r.id for r in dataset.held_out} == {"2", "4"}
    assert {r.id for r in dataset.train} == set("01356789")
    assert set(dataset.report.digests) == {"ori_pqal.json", "test_ground_truth.json"}
    assert {r.id for r in load(path).train} == set("01356789")  # not even with num_eval=0
    with pytest.raises(DataError, match=r"data\.num_eval=3 asks for more held-out .* than the 2"):
        load(path, num_eval=3)


def test_seeded_split_without_the_official_file(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, {str(i): ARTICLE for i in range(10)}), num_eval=4)
    assert (len(dataset.train), len(dataset.held_out)) == (6, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"QUESTION": None}, r"wrong type: 'QUESTION' is null"),
        ({"CONTEXTS": "text"}, r"wrong type: 'CONTEXTS' must be a list"),
        ({"CONTEXTS": []}, r"empty value: 'CONTEXTS' has no paragraph"),
        ({"CONTEXTS": ["x", 3]}, r"wrong type: 'CONTEXTS\[1\]' is a number"),
        ({"final_decision": "perhaps"}, r"unknown label: 'final_decision' is 'perhaps'"),
        ({"final_decision": "no"}, r"labels disagree: .* says 'yes', the row 'no'"),
    ],
)
def test_bad_rows_name_the_pmid(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path, {"1": ARTICLE, "22": {**ARTICLE, **change}}, {"22": "yes"})
    with pytest.raises(DataError, match=rf"ori_pqal\.json: PMID 22: {message}"):
        load(path)
    assert load(path, on_bad_row="skip").report.num_dropped == 1


def test_missing_key_and_non_object(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"PMID 1: missing key: no 'QUESTION'"):
        load(write(tmp_path, {"1": {"CONTEXTS": []}}))
    with pytest.raises(DataError, match=r"PMID 1: not an object"):
        load(write(tmp_path, {"1": ["x"]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"1": {},\n"2": }', r"ori_pqal\.json:2: not valid JSON"),
        ("[]", r"ori_pqal\.json: the top level must be an object keyed by PMID"),
        ('{"7": {}, "7": {}}', r"ori_pqal\.json: 7 appears twice"),
        ("", r"ori_pqal\.json is empty"),
        ("{}", r"no usable row"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, text))


def test_invalid_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "ori_pqal.json"
    path.write_bytes(b'{\n"1": "\xff"}')
    with pytest.raises(DataError, match=r"ori_pqal\.json:2: invalid UTF-8"):
        load(path)


def test_real_set(medray_data: Path) -> None:
    dataset = load(medray_data / "pubmedqa/ori_pqal.json", num_eval=500)
    assert (len(dataset.train), len(dataset.held_out)) == (500, 500)
    assert dataset.report.num_read == 1000
    assert Counter(r.answer for r in dataset.held_out) == {"yes": 276, "no": 169, "maybe": 55}
    official = json.loads((medray_data / "pubmedqa/test_ground_truth.json").read_text("utf-8"))
    assert {r.id: r.answer for r in dataset.held_out} == official
