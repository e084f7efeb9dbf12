"""Hub datasets: what is an id, rows as the library gives them, and no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medray.config.data import DataConfig
from medray.data.loading.hub import HubRows
from medray.data.loading.load import load_dataset
from medray.data.loading.raw_rows import is_hub_id, open_raw_rows
from medray.errors import DataError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("shibing624/medical", True),
        ("owner/name-with.dots_2", True),
        ("owner/rows.jsonl", False),
        ("one", False),
        ("a/b/c", False),
        ("./a", False),
        ("/a/b", False),
        ("a/*", False),
        (None, False),
    ],
)
def test_ids(path: str | None, expected: bool) -> None:
    assert is_hub_id(path) is expected


def test_a_folder_of_that_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert not is_hub_id("owner/name")


def test_settings_reach_the_feed() -> None:
    config = DataConfig(path="o/n", subset="finetune", hub_split="test", revision="abc")
    assert open_raw_rows(config) == [HubRows("o/n", "finetune", "test", "abc")]
    assert open_raw_rows(config)[0].name == "o/n/finetune/test"


def test_hub_settings_on_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is local: data\.subset and data\.revision are for hub"):
        load_dataset(DataConfig(path=str(tmp_path), subset="finetune"))


def test_rows_are_named_counted_and_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own reader over a generator stands in for the network."""
    import datasets

    rows = [
        {"question": "q1", "answer": "a", "id": None},
        {"question": "q2", "answer": "a", "id": "x"},
    ]
    opened = datasets.IterableDataset.from_generator(lambda: iter(rows))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: opened)
    dataset = load_dataset(DataConfig(path="owner/name", num_eval=0))
    assert sorted((r.id, r.source) for r in dataset.train) == [
        ("owner/name/train:1", "owner/name/train:1"),
        ("x", "owner/name/train:2"),
    ]
    [(name, digest)] = dataset.report.digests.items()
    assert name == "owner/name/train"
    assert len(digest) == 64


def test_without_a_network_the_error_is_one_line() -> None:
    code = (
        "from medray.config.data import DataConfig\n"
        "from medray.data.loading.load import load_dataset\n"
        "from medray.errors import DataError\n"
        "try:\n load_dataset(DataConfig(path='no-such-owner/no-such-set'))\n"
        "except DataError as error:\n print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
        },
    )
    [line] = run.stdout.splitlines()
    assert line.startswith(
        "data.path=no-such-owner/no-such-set is not a local file or folder and cannot be loaded from the hub ("
    )
    assert line.endswith(
        "download the dataset where there is a network and set data.path to its folder"
    )


def test_without_a_network_the_library_s_cache_is_read(tmp_path: Path) -> None:
    """A dataset in the cache as the library leaves it there, read in a process without a network."""
    code = f"""
from pathlib import Path
import datasets
rows = datasets.Dataset.from_list([{{"question": "q1", "answer": "a"}}, {{"question": "q2", "answer": "b"}}])
cache = Path({str(tmp_path)!r}, "datasets/owner___name/default/0.0.0/abc123")
rows.save_to_disk(str(cache / "saved"))
next((cache / "saved").glob("*.arrow")).rename(cache / "name-train.arrow")
split = {{"name": "train", "num_bytes": 100, "num_examples": 2, "dataset_name": "name"}}
datasets.DatasetInfo(features=rows.features, splits=[split], builder_name="json", dataset_name="name",
                     config_name="default", version="0.0.0").write_to_directory(str(cache))
from medray.config.data import DataConfig
from medray.data.loading.load import load_dataset
print(sorted(r.answer for r in load_dataset(DataConfig(path="owner/name", num_eval=0)).train))
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert run.stdout == "['a', 'b']\n", run.stderr
