"""Prepared rows in training steps: each once an epoch, the same for any ranks and from any step."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from pathlib import Path

import pytest

from medray.config.supervised import BatchConfig
from medray.data.batches.feed import Taken
from medray.data.batches.prepared_feed import PreparedFeed
from medray.data.batches.trees import with_mismatched
from medray.data.prepared.reader import PreparedTrees
from medray.errors import ConfigError, DataError
from medray.types import PromptTree
from tests.support.prepare import chat_file, fresh_manifest, local_tables, prepare_here, prepare_job


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"), 60, kind="shuffle")


def prepared(base: Path, num_rows: int, *, kind: str) -> Path:
    data = {"path": str(chat_file(base / "a.jsonl", num_rows)), "held_out_fraction": 0.0}
    prepare_here(prepare_job(base / "out", data, layout={"kind": kind, "row_tokens": 600}))
    return base / "out"


def keys(trees: list[PromptTree]) -> list[bytes]:
    return [tree.continuations[0].token_ids.tobytes() for tree in trees]


def feed(folder: Path, **batch: object) -> PreparedFeed:
    settings = BatchConfig.model_validate({"rows_per_step": 5} | batch)
    return PreparedFeed(PreparedTrees(folder), settings, seed=3)


def test_an_epoch_takes_every_row_once(folder: Path) -> None:
    rows = feed(folder, num_epochs=3)
    assert rows.num_steps == 36
    steps = [keys(rows.step(step, 0, 1)) for step in range(1, 37)]
    epochs = [Counter(itertools.chain(*steps[start : start + 12])) for start in (0, 12, 24)]
    assert all(set(epoch.values()) == {1} and len(epoch) == 60 for epoch in epochs)
    assert len({tuple(map(tuple, steps[start : start + 12])) for start in (0, 12, 24)}) == 3
    assert rows.epoch(36) == 3.0


def test_more_epochs_after_a_short_step_skip_no_bundle(folder: Path) -> None:
    first = feed(folder, rows_per_step=8, num_epochs=1)
    assert first.num_steps == 8
    numbers = [key for step in range(1, 9) for key in keys(first.step(step, 0, 1))]
    settings = BatchConfig(rows_per_step=8, num_epochs=2)
    taken = Taken(8, first.rows_after(8))
    more = PreparedFeed(PreparedTrees(folder), settings, seed=3, taken=taken)
    assert more.num_steps == 16
    numbers += [key for step in range(9, 17) for key in keys(more.step(step, 0, 1))]
    assert set(Counter(numbers).values()) == {2}
    assert len(numbers) == 120
    assert more.epoch(16) == 2.0


def test_without_shuffling_epochs_are_alike(folder: Path) -> None:
    rows = feed(folder, shuffle=False)
    assert keys(rows.step(1, 0, 1)) == keys(rows.step(13, 0, 1)) == keys(rows.step(25, 0, 1))


def test_steps_do_not_depend_on_what_came_before(folder: Path) -> None:
    whole = feed(folder)
    expected = [keys(whole.step(step, 0, 1)) for step in range(1, 40)]
    for step in (39, 7, 20, 1, 13):
        assert keys(feed(folder).step(step, 0, 1)) == expected[step - 1]


def test_ranks_share_a_step(folder: Path) -> None:
    rows = feed(folder)
    for step in (1, 12, 13):
        parts = [rows.step(step, rank, 3) for rank in range(3)]
        assert sorted(k for part in parts for k in keys(part)) == sorted(
            keys(rows.step(step, 0, 1))
        )
        assert rows.num_tokens(step) == sum(t.num_tokens for part in parts for t in part)
        assert all(parts)


def test_a_step_counts_bundles(tmp_path: Path) -> None:
    out = prepared(tmp_path, 40, kind="pack")
    rows = feed(out, rows_per_step=2)
    trees = PreparedTrees(out)
    bundles = sum(trees.shard_bundles)
    assert rows.num_steps == -(-bundles // 2) < 20
    taken = [tree for step in range(1, bundles // 2 + 1) for tree in rows.step(step, 0, 1)]
    assert max(rows.num_tokens(step) for step in range(1, rows.num_steps + 1)) <= 1200
    assert len(set(keys(taken))) == len(taken)


def test_what_is_done_to_a_step_is_done_before_it_is_dealt(folder: Path) -> None:
    batch = BatchConfig(rows_per_step=4)
    finished: list[int] = []

    def finish(trees: list[PromptTree]) -> list[PromptTree]:
        finished.append(len(trees))
        return trees[::-1]

    rows = PreparedFeed(PreparedTrees(folder), batch, seed=3, finish=finish)
    plain = PreparedFeed(PreparedTrees(folder), batch, seed=3)
    assert keys(rows.step(1, 0, 1)) == keys(plain.step(1, 0, 1))[::-1]
    rows.step(1, 1, 2)
    assert finished == [4]


def test_kto_meets_the_responses_of_its_step(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [f'{{"prompt": "Q{i}", "completion": "A{i}", "label": true}}\n' for i in range(8)]
    path.write_text("".join(lines))
    prepare_here(
        prepare_job(tmp_path / "out", {"path": str(path), "held_out_fraction": 0.0}, stage="kto")
    )
    rows = PreparedFeed(
        PreparedTrees(tmp_path / "out"), BatchConfig(rows_per_step=4), 3, finish=with_mismatched
    )
    trees = rows.step(1, 0, 1)
    assert [len(tree.continuations) for tree in trees] == [2, 2, 2, 2]
    assert all(tree.continuations[1].columns["mismatched"][0] == 1.0 for tree in trees)


@pytest.mark.parametrize("kto", [False, True])
def test_the_last_step_takes_what_is_left(folder: Path, tmp_path: Path, kto: bool) -> None:
    rows = feed(folder, rows_per_step=8, num_epochs=1)
    if kto:
        path = tmp_path / "a.jsonl"
        lines = [f'{{"prompt": "Q{i}", "completion": "A{i}", "label": true}}\n' for i in range(60)]
        path.write_text("".join(lines))
        data = {"path": str(path), "held_out_fraction": 0.0}
        prepare_here(prepare_job(tmp_path / "out", data, stage="kto"))
        trees, batch = PreparedTrees(tmp_path / "out"), BatchConfig(rows_per_step=59)
        rows = PreparedFeed(trees, batch, 3, finish=with_mismatched)
    steps = [keys(rows.step(step, 0, 1)) for step in range(1, rows.num_steps + 1)]
    assert [len(step) for step in steps] == ([59, 1] if kto else [8] * 7 + [4])
    assert set(Counter(itertools.chain(*steps)).values()) == {1}
    assert rows.epoch(rows.num_steps) == 1
    assert [len(t.continuations) for t in rows.step(rows.num_steps, 0, 1)] == (
        [2] if kto else [1] * 4
    )


def test_training_begins_before_preparation_ends(tmp_path: Path) -> None:
    data = {"path": str(chat_file(tmp_path / "a.jsonl", 100)), "held_out_fraction": 0.0}
    job = prepare_job(tmp_path / "out", data)
    go_on = threading.Event()

    def slowly():
        for number, table in enumerate(local_tables(job, fresh_manifest(job))):
            if number == 8:
                assert go_on.wait(60)
            yield table

    writing = threading.Thread(target=prepare_here, args=(job, slowly()))
    writing.start()
    while not (tmp_path / "out" / "manifest.json").exists():
        pass
    growing = PreparedTrees(job.out, follow_s=60)
    with pytest.raises(ConfigError, match=r"set batch\.num_steps"):
        PreparedFeed(growing, BatchConfig(rows_per_step=5), 3)
    batch = BatchConfig(rows_per_step=5, num_steps=60)
    rows = PreparedFeed(growing, batch, 3)
    early = keys(rows.step(1, 0, 1))
    assert not growing.is_complete
    go_on.set()
    late = [keys(rows.step(step, 0, 1)) for step in range(2, 61)]
    writing.join()
    afterwards = PreparedFeed(PreparedTrees(job.out), batch, 3)
    assert [early, *late] == [keys(afterwards.step(step, 0, 1)) for step in range(1, 61)]


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    data = {"path": str(chat_file(tmp_path / "a.jsonl", 5)), "held_out_fraction": 0.0}
    prepare_here(prepare_job(tmp_path / "out", data, filters={"min_characters": 10**6}))
    with pytest.raises(DataError, match="has no row to train on"):
        feed(tmp_path / "out")
