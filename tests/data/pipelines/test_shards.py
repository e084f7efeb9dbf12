"""A whole preparation in one process: what is written, counted, dropped, and how it goes on after a stop."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medray.data.pipelines.screening import build_screens
from medray.data.prepared.manifest import read_manifest
from medray.data.prepared.reader import PreparedTrees
from medray.errors import ConfigError, DataError
from medray.types import PromptTree, Record
from tests.data.helpers import records_of, write_jsonl
from tests.support.prepare import (
    TOKENIZER,
    chat_file,
    contents,
    fresh_manifest,
    local_steps,
    local_tables,
    prepare_here,
    prepare_job,
)

PAIR = {"prompt": "Q", "chosen": "good answer", "rejected": "bad"}


def texts(folder: Path, side: Any = "train") -> list[str]:
    trees = PreparedTrees(folder, side)
    return [TOKENIZER.decode(trees[i].continuations[-1].token_ids) for i in range(len(trees))]


def same(one: PromptTree, other: PromptTree) -> bool:
    pairs = zip(one.continuations, other.continuations, strict=True)
    return np.array_equal(one.prompt_ids, other.prompt_ids) and all(
        np.array_equal(a.token_ids, b.token_ids)
        and np.array_equal(a.trained, b.trained)
        and a.columns.keys() == b.columns.keys()
        and all(np.array_equal(a.columns[name], b.columns[name]) for name in a.columns)
        for a, b in pairs
    )


def test_trees_are_those_that_the_stage_makes(tmp_path: Path) -> None:
    data = {"path": str(chat_file(tmp_path / "a.jsonl", 40)), "held_out_fraction": 0.2}
    job = prepare_job(tmp_path / "out", data, layout={"kind": "keep"})
    manifest = prepare_here(job)
    examples = local_steps(job).to_examples
    for side in ("train", "held_out"):
        records = list(records_of(job.data, side, stage="sft"))
        trees = PreparedTrees(tmp_path / "out", side)
        assert [trees.id(i) for i in range(len(trees))] == [record.id for record in records]
        expected = [example.tree for record in records for example in examples(record)]
        assert all(same(trees[i], tree) for i, tree in enumerate(expected))
        assert trees.num_tokens.tolist() == [tree.num_tokens for tree in expected]
        assert trees.num_trained == sum(int(t.continuations[0].trained.sum()) for t in expected)
    assert manifest.complete
    assert manifest.counts.read == manifest.counts.kept == 40
    assert not (tmp_path / "out" / ".resume").exists()


def test_pairs_keep_their_margins_and_labels(tmp_path: Path) -> None:
    row = {"question": "Q", "response_chosen": "good", "response_rejected": "bad",
           "score_chosen": 4, "score_rejected": 1.5}  # fmt: skip
    path = write_jsonl(tmp_path / "a.jsonl", row)
    data = {"path": str(path), "held_out_fraction": 0.0}
    prepare_here(prepare_job(tmp_path / "pairs", data, stage="preference"))
    [pair] = (PreparedTrees(tmp_path / "pairs")[i] for i in range(1))
    assert [set(c.columns["margin"].tolist()) for c in pair.continuations] == [{2.5}, {2.5}]
    prepare_here(prepare_job(tmp_path / "labels", data, stage="kto"))
    labels = PreparedTrees(tmp_path / "labels")[0]
    assert [set(c.columns["desirable"].tolist()) for c in labels.continuations] == [{1.0}, {0.0}]


def test_steps_keep_a_label_each(tmp_path: Path) -> None:
    rows = [
        {"question": f"Q{i}", "steps": ["one", "two", "three"], "values": [1, None, i / 4]}
        for i in range(3)
    ]
    data = {"path": str(write_jsonl(tmp_path / "a.jsonl", *rows)), "held_out_fraction": 0.0}
    layout = {"kind": "keep"}
    prepare_here(prepare_job(tmp_path / "out", data, stage="process", layout=layout))
    trees = PreparedTrees(tmp_path / "out")
    for i in range(3):
        [whole] = trees[i].continuations
        assert whole.columns["step_label"][whole.trained].tolist() == [1.0, i / 4]


def test_long_documents_become_several_trees(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"text": "x" * 100}, {"text": "y" * 10})
    job = prepare_job(tmp_path / "out", {"path": str(path), "held_out_fraction": 0.0}, stage="pt",
                      block_tokens=40, layout={"kind": "pack", "row_tokens": 48})  # fmt: skip
    [shard] = prepare_here(job).shards
    assert (shard.num_trees, shard.num_bundles, shard.num_tokens) == (4, 3, 112)


@pytest.mark.parametrize("kind", ["shuffle", "pack", "bucket", "keep"])
def test_how_the_stream_is_cut_changes_no_byte(tmp_path: Path, kind: str) -> None:
    data = {"path": str(chat_file(tmp_path / "a.jsonl", 90)), "held_out_fraction": 0.1}
    found = []
    for piece in (1, 5, 256):
        out = tmp_path / f"out{piece}"
        job = prepare_job(out, data, layout={"kind": kind, "row_tokens": 512}, duplicates={})
        prepare_here(job, local_tables(job, fresh_manifest(job), piece))
        found.append(contents(out))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("num_tables", [0, 1, 4, 9, 17, 30])
def test_a_stop_anywhere_changes_no_byte(tmp_path: Path, num_tables: int) -> None:
    path = chat_file(tmp_path / "a.jsonl", 130)
    path.write_text(path.read_text() + "{\n" + "".join(path.read_text().splitlines(True)[:20]))
    data = {"path": str(path), "on_bad_row": "skip"}
    changes = {"duplicates": {}, "filters": {"min_characters": 100}}
    undisturbed = prepare_job(tmp_path / "undisturbed", data, **changes)
    prepare_here(undisturbed)
    job = prepare_job(tmp_path / "stopped", data, **changes)
    prepare_here(job, itertools.islice(local_tables(job, fresh_manifest(job)), num_tables))
    if num_tables < 30:
        for name in (
            "train-000099.arrow",
            ".train-000099.arrow.0f.tmp",
            ".resume/.000099.npz.0f.tmp",
        ):
            left = tmp_path / "stopped" / name
            left.parent.mkdir(parents=True, exist_ok=True)
            left.write_bytes(b"left by a kill")
    manifest = prepare_here(job)
    assert manifest.dropped.keys() == {"bad JSON", "near-duplicate", "too few characters"}
    assert contents(tmp_path / "stopped") == contents(tmp_path / "undisturbed")


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    chat = [
        {"from": "human", "value": "How long does a cold last?"},
        {"from": "gpt", "value": "A week, or seven days."},
    ]
    zh = [
        {"from": "human", "value": "感冒要多久才能好？"},
        {"from": "gpt", "value": "大约一个星期。"},
    ]
    secret = [
        {"from": "human", "value": "Benchmark question number 7?"},
        {"from": "gpt", "value": "An answer."},
    ]
    rows = [
        {"conversations": chat}, "{", {"conversations": zh}, {"conversations": chat},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
        {"conversations": secret}, {"conversations": [{"from": "human", "value": "x" * 400}, *chat[1:]]},
    ]  # fmt: skip
    path = write_jsonl(tmp_path / "a.jsonl", *rows)
    job = prepare_job(
        tmp_path / "out",
        {"path": str(path), "on_bad_row": "skip", "held_out_fraction": 0.0},
        filters={"languages": ["en"], "min_characters": 8, "max_characters": 300},
        duplicates={},
        decontaminate="tests.data.pipelines.test_shards:no_benchmark",
    )
    manifest = prepare_here(job)
    assert {reason: drop.count for reason, drop in manifest.dropped.items()} == {
        "bad JSON": 1, "language zh": 1, "near-duplicate": 1, "of a benchmark": 1,
        "too few characters": 1, "too many characters": 1,
    }  # fmt: skip
    assert manifest.counts.read == 7
    assert manifest.counts.kept == 1
    assert manifest.dropped["near-duplicate"].examples[0].startswith(f"{path}:4: near-duplicate")
    assert "dropped 1 (near-duplicate" in manifest.summary()


def no_benchmark(record: Record) -> str | None:
    return "of a benchmark" if "Benchmark" in record.messages[0]["content"] else None


def returns_nonsense(record: Record) -> bool:
    return True


def test_a_wrong_hook_is_named(tmp_path: Path) -> None:
    job = prepare_job(tmp_path / "out", {"path": str(chat_file(tmp_path / "a.jsonl", 3))})
    with pytest.raises(ConfigError, match="decontaminate=nowhere:f: importing nowhere failed"):
        build_screens(job.filters, "nowhere:f")
    wrong = job.model_copy(update={"decontaminate": f"{__name__}:returns_nonsense"})
    [screen] = build_screens(wrong.filters, f"{__name__}:returns_nonsense")
    with pytest.raises(DataError, match="returned True for r1: return None to keep a record"):
        screen(Record(id="r1", messages=()))


def test_a_bad_row_stops_and_what_is_whole_stays(tmp_path: Path) -> None:
    path = chat_file(tmp_path / "a.jsonl", 40)
    with path.open("a") as stream:
        stream.write("{\n")
    job = prepare_job(tmp_path / "out", {"path": str(path)})
    with pytest.raises(DataError, match=r"a\.jsonl:41: bad JSON.*on_bad_row=skip skips such rows"):
        prepare_here(job)
    manifest = read_manifest(tmp_path / "out")
    assert not manifest.complete
    assert manifest.num_windows == 2


def test_weights_repeat_and_leave_out_training_rows(tmp_path: Path) -> None:
    paths = [chat_file(tmp_path / f"{name}.jsonl", 60, seed=i) for i, name in enumerate("ab")]
    sources = [{"path": str(paths[0]), "weight": 2.0}, {"path": str(paths[1]), "weight": 0.5}]
    data = {"sources": sources, "held_out_fraction": 0.0}
    manifest = prepare_here(prepare_job(tmp_path / "out", data, duplicates={"threshold": 0.95}))
    trees = PreparedTrees(tmp_path / "out")
    ids = [trees.id(i) for i in range(len(trees))]
    assert sum(name.startswith("0/") for name in ids) == 120
    assert sum(name.endswith("#2") for name in ids) == 60
    assert 15 <= sum(name.startswith("1/") for name in ids) <= 45
    counts = manifest.counts
    assert counts.repeated == 60
    assert counts.kept + counts.repeated - counts.unused == len(trees)
    assert {name: part.read for name, part in manifest.parts.items()} == {"0": 60, "1": 60}


def test_a_missing_sketch_file_is_an_error(tmp_path: Path) -> None:
    job = prepare_job(
        tmp_path / "out", {"path": str(chat_file(tmp_path / "a.jsonl", 50))}, duplicates={}
    )
    prepare_here(job, itertools.islice(local_tables(job, fresh_manifest(job)), 10))
    (tmp_path / "out" / ".resume" / "000000.npz").unlink()
    with pytest.raises(DataError, match=r"000000\.npz is needed to continue"):
        prepare_here(job)
