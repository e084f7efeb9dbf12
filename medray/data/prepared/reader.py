"""Reading prepared trees: any of them by number, or from a position on, while preparation may still go on."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from medray.data.prepared.manifest import Manifest, ShardEntry, Side, read_manifest
from medray.data.prepared.tables import Counts, TreeShard
from medray.errors import DataError, DeadlineExceeded
from medray.types import PromptTree

_OPEN_SHARDS = 64
_POLL_S = 0.2
FOLLOW_S = 600.0
"""Longest wait for the next shard, in seconds."""


def open_prepared(folder: str | Path, stage: str, tokenizer_sha256: str | None = None) -> Manifest:
    """The manifest of a folder that is to train `stage`.

    Args:
        folder: as `jobs/prepare_data.py` wrote it.
        stage: what the job reads.
        tokenizer_sha256: of the tokenizer of the model that is trained (`identity.tokenizer_sha256`); None is not
            compared.

    Raises:
        DataError: the folder was prepared for another stage or another tokenizer.
    """
    manifest = read_manifest(Path(folder).expanduser())
    if manifest.stage != stage:
        raise DataError(
            f"data.path={folder} was prepared for stage={manifest.stage}, but this job needs {stage}: "
            "use another folder, or prepare it for that stage"
        )
    if tokenizer_sha256 is not None and manifest.tokenizer_sha256 != tokenizer_sha256:
        raise DataError(
            f"data.path={folder} was prepared with the tokenizer and template of"
            f" {manifest.identity['model']}, which differ from this model's: prepare it with this model"
        )
    return manifest


def read_prepared(
    folder: str | Path, position: int = 0, *, side: Side = "train", follow_s: float = FOLLOW_S
) -> Iterator[PromptTree]:
    """The trees of one pass from number `position` on; waits for shards that are not there yet.

    Args:
        folder: as `jobs/prepare_data.py` writes it.
        position: trees that are passed over, without reading them.
        side: of the split.
        follow_s: longest wait for the next shard.

    Raises:
        DataError: the folder is none of ours, or a shard is damaged.
        DeadlineExceeded: preparation has written nothing for `follow_s`.
    """
    trees = PreparedTrees(folder, side, follow_s=follow_s)
    while trees.has_tree(position):
        yield trees[position]
        position += 1


class PreparedTrees(Sequence[PromptTree]):
    """All trees of one side of a folder, by number; ships to another process as the folder's name.

    Files are mapped into memory, so that a tree costs its own bytes only. Trees lie in bundles: those that a
    packed row or a bucket holds, else each alone.
    """

    def __init__(
        self, folder: str | Path, side: Side = "train", *, follow_s: float | None = None
    ) -> None:
        """
        Args:
            folder: as `jobs/prepare_data.py` writes it.
            side: of the split.
            follow_s: wait so long for the next shard of a folder that still grows; None refuses such a folder.

        Raises:
            DataError: preparation has not come to its end, and `follow_s` is None.
        """
        self.folder = Path(folder).expanduser()
        self.side: Side = side
        self._follow_s = follow_s
        self._open: OrderedDict[int, TreeShard] = OrderedDict()
        self._sizes: Counts = np.zeros(0, dtype=np.int64)
        self._refresh()
        if follow_s is None and not self.is_complete:
            raise DataError(
                f"{folder} is not complete: run jobs/prepare_data.py again with the same settings to continue"
            )

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "side": self.side, "follow_s": self._follow_s}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return int(self._first_trees[-1])

    def __getitem__(self, index: int) -> PromptTree:  # type: ignore[override]
        shard, offset = self._find(index)
        return shard[offset]

    @property
    def num_tokens(self) -> Counts:
        """Number of tokens of each tree, int64 [R]; reads every shard's offsets once."""
        if len(self._sizes) < len(self):
            sizes = [self._shard(number).num_tokens for number in range(len(self._entries))]
            self._sizes = np.concatenate(sizes)
        return self._sizes

    @property
    def num_trained(self) -> int:
        """Trained tokens of all trees."""
        return sum(entry.num_trained for entry in self._entries)

    @property
    def shard_bundles(self) -> list[int]:
        """How many bundles each shard has."""
        return [entry.num_bundles for entry in self._entries]

    def id(self, index: int) -> str:
        """The record that tree `index` was made from."""
        shard, offset = self._find(index)
        return shard.id(offset)

    def bundle(self, shard: int, number: int) -> range:
        """The trees of a bundle, by the number of its shard and its number there."""
        starts = self._shard(shard).bundle_starts + int(self._first_trees[shard])
        return range(int(starts[number]), int(starts[number + 1]))

    def has_tree(self, index: int) -> bool:
        """Whether there is a tree `index`; of a folder that grows, after waiting for it.

        Raises:
            DeadlineExceeded: nothing was added for `follow_s`.
        """
        return self._wait(lambda: index < len(self))

    def has_shard(self, shard: int) -> bool:
        """Whether there is a shard of this number; of a folder that grows, after waiting for it.

        Raises:
            DeadlineExceeded: nothing was added for `follow_s`.
        """
        return self._wait(lambda: shard < len(self._entries))

    def _wait(self, is_there: Callable[[], bool]) -> bool:
        since, num_windows = time.monotonic(), self._num_windows
        while not is_there():
            if self.is_complete:
                return False
            assert self._follow_s is not None
            if time.monotonic() - since > self._follow_s:
                raise DeadlineExceeded(
                    f"{self.folder} is not complete, and nothing was added to it for {self._follow_s:.0f} s: run "
                    "jobs/prepare_data.py again with the same settings to continue"
                )
            time.sleep(_POLL_S)
            self._refresh()
            if self._num_windows > num_windows:
                since, num_windows = time.monotonic(), self._num_windows
        return True

    def _refresh(self) -> None:
        manifest = read_manifest(self.folder)
        self.is_complete = manifest.complete
        self._num_windows = manifest.num_windows
        self._entries = manifest.side(self.side)
        self._first_trees = np.cumsum([0, *(entry.num_trees for entry in self._entries)])

    def _find(self, index: int) -> tuple[TreeShard, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"tree {index} of {len(self)}")
        number = int(np.searchsorted(self._first_trees, index, side="right")) - 1
        return self._shard(number), index - int(self._first_trees[number])

    def _shard(self, number: int) -> TreeShard:
        if number in self._open:
            self._open.move_to_end(number)
        else:
            self._open[number] = open_shard(self.folder, self._entries[number])
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        return self._open[number]


def open_shard(folder: Path, entry: ShardEntry) -> TreeShard:
    """The trees of one shard.

    Raises:
        DataError: the file is missing, cut off or damaged.
    """
    path = folder / entry.file
    try:
        if path.stat().st_size != entry.num_bytes:
            raise DataError(
                f"{path} does not have the size stated in {folder}/manifest.json: prepare the data again"
            )
        return TreeShard(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read ({error}): prepare the data again") from None
