"""Reference log-probabilities computed once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from medray.data.batches.tree_table import Offsets, TreeSequence
from medray.learners.reference import add_reference
from medray.learners.scorer import Scorer
from medray.learners.strategies import Strategy
from medray.models.packed import PackedModel
from medray.storage.atomic import atomic_file
from medray.types import Floats, PromptTree

SAMPLES = 64


def fingerprint(model: PackedModel) -> str:
    """A digest of a model's weights: names, shapes and a spread of values of every tensor."""
    digest = hashlib.sha256()
    for name, tensor in model.module.state_dict().items():
        flat = tensor.detach().flatten()
        picked = flat[:: max(1, len(flat) // SAMPLES)].double().cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(picked.tobytes())
    return digest.hexdigest()


class ReferenceCache:
    """Adds the column `ref_logp` to trees, scoring each chunk of them at most once.

    A chunk is a file named by the digest of its tokens and of the reference's weights, so that an interrupted
    pass goes on where it was, and other data or another model never meet a stale value.
    """

    def __init__(
        self, folder: Path, scorer: Scorer, *, adapter: bool = True, chunk_trees: int = 256
    ) -> None:
        self.folder = folder
        self.scorer = scorer
        self.adapter = adapter
        self.chunk_trees = chunk_trees
        self.num_scored = 0  # trees scored by this object, not found on disk
        self._model = f"{fingerprint(scorer.policy)} {adapter} {scorer.temperature}"

    def add(self, trees: Iterable[PromptTree]) -> Iterator[PromptTree]:
        """Yield the trees, in order, with the reference's log-probabilities."""
        iterator = iter(trees)
        while chunk := list(islice(iterator, self.chunk_trees)):
            path = self.folder / f"{self._digest(chunk)}.safetensors"
            flat = _read(path)
            if flat is None:
                scored = self.scorer.logprobs(chunk, adapter=self.adapter)
                self.num_scored += len(chunk)
                flat = np.concatenate([logp for logps in scored for logp in logps])
                with atomic_file(path) as temporary:
                    save_file({"ref_logp": flat}, temporary)
            yield from _dealt(chunk, flat)

    def _digest(self, trees: list[PromptTree]) -> str:
        digest = hashlib.sha256(self._model.encode())
        for tree in trees:
            digest.update(f"|{len(tree.prompt_ids)}:".encode() + tree.prompt_ids.tobytes())
            for c in tree.continuations:
                digest.update(f",{len(c.token_ids)}:".encode() + c.token_ids.tobytes())
                digest.update(c.trained.tobytes())
        return digest.hexdigest()


class ReferencedRows:
    """Rows with the column `ref_logp`, computed once by all ranks and kept in `cache`."""

    def __init__(self, rows: TreeSequence, cache: ReferenceCache, ranks: Strategy) -> None:
        self._rows = rows
        size = cache.chunk_trees
        starts = range(0, len(rows), size)
        for start in starts[ranks.rank :: ranks.world_size]:
            for _ in cache.add(rows[i] for i in range(start, min(start + size, len(rows)))):
                pass
        ranks.gather(None)  # every chunk is on disk
        self._logps = [
            tuple(c.columns["ref_logp"][c.trained].astype(np.float32) for c in tree.continuations)
            for tree in cache.add(rows[i] for i in range(len(rows)))
        ]

    @property
    def num_tokens(self) -> Offsets:
        """Number of tokens of each tree, int64 [R]."""
        return self._rows.num_tokens

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> PromptTree:
        """Tree number `index`, with its reference."""
        return add_reference(self._rows[index], self._logps[index])


def _read(path: Path) -> Floats | None:
    try:
        return load_file(path)["ref_logp"]
    except (FileNotFoundError, SafetensorError, KeyError):
        return None  # a damaged file is written anew


def _dealt(trees: list[PromptTree], flat: Floats) -> Iterator[PromptTree]:
    start = 0
    for tree in trees:
        logps = []
        for continuation in tree.continuations:
            size = int(continuation.trained.sum())
            logps.append(flat[start : start + size])
            start += size
        yield add_reference(tree, logps)
