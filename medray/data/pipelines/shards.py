"""The last stage of a preparation: tokenised rows, in their order, to shards and a manifest. Free of Ray."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medray.config.prepare import PrepareJob
from medray.data.pipelines.layout import lay_out
from medray.data.pipelines.minhash import NearDuplicates
from medray.data.pipelines.tally import Tally
from medray.data.prepared.manifest import Manifest, ShardEntry, Side, write_manifest
from medray.data.prepared.tables import BUNDLE, ID, write_table
from medray.errors import DataError
from medray.storage.atomic import atomic_file

RESUME = ".resume"


class ShardWriter:
    """Takes the tables of a preparation one after another; every window that ends is on the disk, whole.

    The manifest is written last, so that a kill at any moment costs the window in work and nothing else. All that
    depends on the order of rows happens here, in one process: what a near-duplicate repeats, what a shard holds.
    """

    def __init__(self, job: PrepareJob, manifest: Manifest) -> None:
        """
        Args:
            job: whose folder is written.
            manifest: of that folder as far as it is, or a new one.

        Raises:
            DataError: the folder lacks what is needed to continue it.
        """
        self._job = job
        self._folder = Path(job.out).expanduser()
        self.manifest = manifest
        _remove_leftovers(self._folder, manifest)
        self.tally = Tally.of(manifest)
        self._index = _restored(self._folder, job, manifest)
        self._held: list[pa.Table] = []
        self._sketches: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []

    def add(self, table: pa.Table) -> None:
        """Take the next rows.

        Raises:
            DataError: a row is bad and `data.on_bad_row` is error.
            ResourceError: the disk is full.
        """
        start = 0
        marks = table.column("mark")
        for at in np.flatnonzero(marks.is_valid().to_numpy(zero_copy_only=False)).tolist():
            self._hold(table.slice(start, at - start))
            self._end(table.column("window")[at].as_py(), json.loads(marks[at].as_py()))
            start = at + 1
        self._hold(table.slice(start))

    def _hold(self, table: pa.Table) -> None:
        if not len(table):
            return
        self._refuse_bad(table)
        keep = table.column("reason").is_null().to_numpy(zero_copy_only=False)
        repeats = self._repeats(table, keep)
        self.tally.add(table, keep & ~repeats, repeats)
        self._held.append(table.filter(pa.array(keep & ~repeats)))

    def _refuse_bad(self, table: pa.Table) -> None:
        if self._job.data.on_bad_row == "skip":
            return
        for row in table.filter(table.column("bad")).slice(0, 1).to_pylist():
            raise DataError(
                f"{row['where']}: {row['reason']}: {row['detail']} (data.on_bad_row=skip skips such rows)"
            )

    def _repeats(self, table: pa.Table, keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which of the rows repeat an earlier one."""
        flags = np.zeros(len(table), dtype=np.bool_)
        if self._index is None or not keep.any():
            return flags
        kept = table.filter(pa.array(keep))
        keys, sketches = (_matrix(kept.column(name)) for name in ("keys", "sketch"))
        self._sketches.append((keys, sketches))
        flags[keep] = self._index.add(keys, sketches)
        return flags

    def _end(self, window: int, mark: dict[str, Any]) -> None:
        if "num_read" not in mark:
            changes = {"complete": True, "sources": mark["sources"], "files_sha256": mark["sha256"]}
            self._commit(changes)
            shutil.rmtree(self._folder / RESUME, ignore_errors=True)
            return
        rows = pa.concat_tables(self._held) if self._held else None
        shards = [] if rows is None else [self._write_side(rows, s, window) for s in _SIDES]
        self._save_sketches(window)
        self._held = []
        self._commit(
            {
                "num_windows": window + 1,
                "input_sha256": mark["sha256"],
                "shards": (*self.manifest.shards, *(s for s in shards if s is not None)),
            }
        )

    def _commit(self, changes: dict[str, Any]) -> None:
        self.manifest = self.manifest.model_copy(update=self.tally.as_fields() | changes)
        write_manifest(self._folder, self.manifest)

    def _write_side(self, rows: pa.Table, side: Side, window: int) -> ShardEntry | None:
        is_held_out = rows.column("held_out").to_numpy(zero_copy_only=False)
        trees, ids = _exploded(rows.filter(pa.array(is_held_out == (side == "held_out"))))
        if not len(trees):
            return None
        sizes: list[int] = trees.field("token_ids").value_lengths().to_pylist()
        bundles = lay_out(sizes, self._job.layout, f"{self._job.seed}/{side}/{window}")
        order = [i for bundle in bundles for i in bundle]
        laid = trees.take(pa.array(order, pa.int64()))
        columns: dict[str, Any] = {
            ID: pa.array([ids[i] for i in order], pa.string()),
            BUNDLE: pa.array(
                np.repeat(np.arange(len(bundles), dtype=np.int32), [len(b) for b in bundles])
            ),
        }
        columns |= {field.name: laid.field(field.name) for field in laid.type}
        path = self._folder / f"{side}-{window:06d}.arrow"
        with atomic_file(path) as temporary:
            write_table(temporary, pa.table(columns))
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return ShardEntry(
            file=path.name,
            side=side,
            num_trees=len(order),
            num_bundles=len(bundles),
            num_tokens=sum(sizes),
            num_trained=int(laid.field("trained").flatten().to_numpy(zero_copy_only=False).sum()),
            num_bytes=path.stat().st_size,
            sha256=sha256,
        )

    def _save_sketches(self, window: int) -> None:
        if self._index is None:
            return
        keys, sketches = _joined(self._sketches, self._job)
        self._sketches = []
        with (
            atomic_file(_sketch_file(self._folder, window)) as temporary,
            temporary.open("wb") as f,
        ):
            np.savez(f, keys=keys, sketches=sketches)


_SIDES: tuple[Side, ...] = ("train", "held_out")


def _exploded(rows: pa.Table) -> tuple[Any, list[str]]:
    """Every tree of every row as often as the row is taken, and the id of each; copies end in `#2`, `#3` ..."""
    nested = rows.column("trees").combine_chunks()
    if isinstance(nested, pa.ChunkedArray):
        nested = pa.concat_arrays(nested.chunks) if nested.num_chunks else pa.array([], nested.type)
    counts = nested.value_lengths().to_pylist()
    order, ids = list[int](), list[str]()
    first = 0
    for size, times, name in zip(
        counts, rows.column("num_copies").to_pylist(), rows.column("id").to_pylist(), strict=True
    ):
        for number in range(1, times + 1):
            order += range(first, first + size)
            ids += [name if number == 1 else f"{name}#{number}"] * size
        first += size
    flat = nested.flatten()
    if order == list(range(len(flat))):
        return flat, ids
    return flat.take(pa.array(order, pa.int64())), ids


def _matrix(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column of fixed-size lists as rows of a matrix."""
    width = column.type.list_size
    parts = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _joined(parts: list[tuple[Any, Any]], job: PrepareJob) -> tuple[Any, Any]:
    config = job.duplicates
    assert config is not None
    empty = (
        np.zeros((0, config.num_bands), dtype=np.uint64),
        np.zeros((0, config.num_hashes), dtype=np.uint8),
    )
    keys, sketches = zip(*[empty, *parts], strict=True)
    return np.concatenate(keys), np.concatenate(sketches)


def _remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """What a kill left behind: files half-written, and whole ones that the manifest does not know yet."""
    known = {shard.file for shard in manifest.shards}
    for path in [*folder.glob("*.arrow"), *folder.glob(".*.tmp"), *folder.glob(f"{RESUME}/.*.tmp")]:
        if path.name not in known:
            path.unlink(missing_ok=True)


def _sketch_file(folder: Path, window: int) -> Path:
    return folder / RESUME / f"{window:06d}.npz"


def _restored(folder: Path, job: PrepareJob, manifest: Manifest) -> NearDuplicates | None:
    """The index as it was after the windows that are done."""
    if job.duplicates is None:
        return None
    index = NearDuplicates(job.duplicates)
    for window in range(manifest.num_windows):
        path = _sketch_file(folder, window)
        try:
            with np.load(path, allow_pickle=False) as saved:
                index.add(saved["keys"], saved["sketches"])
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{path} is needed to continue and cannot be read ({error}): remove {folder} to start over"
            ) from None
    return index
