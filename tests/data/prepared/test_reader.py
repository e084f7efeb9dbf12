"""Reading prepared folders: by number, from a position, while they grow, and when they are not what they should be."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.data.loading.load import load_dataset
from medray.data.prepared.identity import tokenizer_sha256
from medray.data.prepared.manifest import FILE, is_prepared, read_manifest
from medray.data.prepared.reader import PreparedTrees, open_prepared, read_prepared
from medray.data.prepared.tables import BUNDLE, ID, TreeShard, tree_columns, write_table
from medray.errors import DataError, DeadlineExceeded
from medray.types import Continuation, PromptTree
from tests.support.chats import byte_tokenizer
from tests.support.prepare import chat_file, fresh_manifest, local_tables, prepare_here, prepare_job


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("prepared")
    data = {"path": str(chat_file(base / "a.jsonl", 50)), "held_out_fraction": 0.1}
    prepare_here(prepare_job(base / "out", data))
    return base / "out"


TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=6).map(
    lambda t: np.asarray(t, dtype=np.int32)
)


@st.composite
def trees(draw: st.DrawFn) -> PromptTree:
    parts = []
    for ids in draw(st.lists(TOKENS.filter(len), min_size=1, max_size=3)):
        trained = np.asarray(draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))))
        value = np.full(len(ids), draw(st.floats(width=32, allow_nan=False)), dtype=np.float32)
        parts.append(Continuation(ids, trained, {"margin": value}))
    return PromptTree(draw(TOKENS), tuple(parts))


@given(expected=st.lists(trees(), min_size=1, max_size=5))
def test_trees_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, expected: list[PromptTree]
) -> None:
    import pyarrow as pa

    path = tmp_path_factory.mktemp("tables") / "trees.arrow"
    numbers = pa.array(range(len(expected)), pa.int32())
    ids = pa.array([str(i) for i in range(len(expected))])
    write_table(path, pa.table({ID: ids, BUNDLE: numbers} | tree_columns(expected, ["margin"])))
    shard = TreeShard(path)
    assert shard.num_tokens.tolist() == [tree.num_tokens for tree in expected]
    for index, tree in enumerate(expected):
        assert repr(shard[index]) == repr(tree)
        assert shard.id(index) == str(index)


def test_a_position_passes_over_trees(folder: Path) -> None:
    everything = list(read_prepared(folder))
    assert len(everything) == len(PreparedTrees(folder))
    for position in (0, 1, 15, 16, 17, len(everything) - 1, len(everything), 1000):
        rest = list(read_prepared(folder, position))
        assert [repr(tree) for tree in rest] == [repr(tree) for tree in everything[position:]]


def test_trees_ship_as_a_name(folder: Path) -> None:
    rows = PreparedTrees(folder)
    sent = pickle.dumps(rows)
    assert len(sent) < 1000
    assert repr(pickle.loads(sent)[7]) == repr(rows[7])
    assert int(rows.num_tokens.sum()) == sum(
        e.num_tokens for e in read_manifest(folder).side("train")
    )
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_reading_begins_before_preparation_ends(tmp_path: Path) -> None:
    job = prepare_job(tmp_path / "out", {"path": str(chat_file(tmp_path / "a.jsonl", 200))})
    go_on = threading.Event()

    def slowly():
        for number, table in enumerate(local_tables(job, fresh_manifest(job))):
            if number == 10:
                go_on.wait(30)
            yield table

    writing = threading.Thread(target=prepare_here, args=(job, slowly()))
    writing.start()
    while not is_prepared(job.out):
        time.sleep(0.01)
    stream = read_prepared(job.out)
    first = [next(stream) for _ in range(16)]
    assert not read_manifest(Path(job.out)).complete
    with pytest.raises(DataError, match="is not complete"):
        PreparedTrees(job.out)
    go_on.set()
    rest = list(stream)
    writing.join()
    assert [repr(t) for t in [*first, *rest]] == [repr(t) for t in read_prepared(job.out)]


def test_waiting_has_an_end(tmp_path: Path) -> None:
    import itertools

    job = prepare_job(tmp_path / "out", {"path": str(chat_file(tmp_path / "a.jsonl", 50))})
    prepare_here(job, itertools.islice(local_tables(job, fresh_manifest(job)), 5))
    with pytest.raises(DeadlineExceeded, match="nothing was added to it"):
        list(read_prepared(job.out, follow_s=0.3))


def test_another_stage_or_tokenizer_is_refused(folder: Path) -> None:
    assert open_prepared(folder, "sft").complete
    with pytest.raises(DataError, match="was prepared for stage=sft, but this job needs kto"):
        open_prepared(folder, "kto")
    with pytest.raises(DataError, match="prepare it with this model"):
        open_prepared(folder, "sft", tokenizer_sha256="other")


def test_the_digest_of_a_tokenizer_is_that_of_its_rules() -> None:
    padded = byte_tokenizer()
    padded.pad_token = padded.eos_token
    one = tokenizer_sha256(padded)
    padded("text", padding="max_length", max_length=8, truncation=True)
    assert tokenizer_sha256(padded) == one
    one = tokenizer_sha256(byte_tokenizer())
    others = [
        byte_tokenizer("<x>"),
        byte_tokenizer(template="{{ messages }}"),
        byte_tokenizer(eos="<e>"),
    ]
    assert len({one, *map(tokenizer_sha256, others)}) == 4


def test_damage_is_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shard = copy / "train-000001.arrow"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(DataError, match="does not have the size stated in"):
        list(read_prepared(copy))
    shard.unlink()
    with pytest.raises(DataError, match=r"train-000001\.arrow cannot be read"):
        list(read_prepared(copy))
    (copy / FILE).write_text('{"format": 1}')
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        read_manifest(copy)
    (copy / FILE).unlink()
    with pytest.raises(DataError, match="is not a prepared folder"):
        read_manifest(copy)


def test_a_prepared_folder_is_no_dataset_of_rows(folder: Path) -> None:
    from medray.config.data import DataConfig

    with pytest.raises(DataError, match="contains prepared tokens"):
        load_dataset(DataConfig(path=str(folder)))
