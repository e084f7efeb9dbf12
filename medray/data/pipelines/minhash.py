"""Near-duplicates: MinHash sketches (rensa), and an index that tells which rows repeat an earlier one.

Sources: Broder 1997, "On the resemblance and containment of documents"; banding as in Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", chapter 3; sketches of a byte a hash, Li and König 2010 (b-bit minwise hashing).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medray.config.prepare import DuplicatesConfig
from medray.errors import ConfigError

Keys = npt.NDArray[np.uint64]
Sketches = npt.NDArray[np.uint8]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_]+")
_SEED = 42
_ODD = np.uint64(0x9E3779B97F4A7C15)
_BLOCK_ROWS = 1 << 16
_COLLISIONS = 1 / 256
"""Share of unequal hashes that agree in one byte."""


def word_sequences(text: str, ngram: int) -> list[str]:
    """The sequences of `ngram` words in a text, without case, width and punctuation; all words, when they are fewer."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    words = _WORD.findall(text.casefold())
    if len(words) <= ngram:
        return [" ".join(words)] if words else []
    return [" ".join(words[i : i + ngram]) for i in range(len(words) - ngram + 1)]


def sketch(texts: Sequence[str], config: DuplicatesConfig) -> tuple[Keys, Sketches]:
    """Keys of the bands [R, bands] and a byte of each hash [R, hashes] of R texts; all 0 for a text without words."""
    try:
        from rensa import RMinHash  # type: ignore[attr-defined]
    except ImportError:
        raise ConfigError(
            "duplicates needs the package rensa: pip install rensa, or leave duplicates out"
        ) from None

    sets = [word_sequences(text, config.ngram) for text in texts]
    matrix = RMinHash.digest_matrix_from_token_sets(sets, config.num_hashes, _SEED)
    hashes = np.asarray(matrix.to_rows(), dtype=np.uint64).reshape(len(texts), config.num_hashes)
    keys = _band_keys(hashes.reshape(len(texts), config.num_bands, -1))
    has_words = np.array([bool(words) for words in sets], dtype=np.bool_)
    keys[~has_words] = 0
    return keys, (hashes & np.uint64(0xFF)).astype(np.uint8)


def _band_keys(bands: npt.NDArray[np.uint64]) -> Keys:
    """One key a band [R, B] from its hashes [R, B, H]; the same hashes in another band make another key."""
    keys = np.broadcast_to(
        np.arange(1, bands.shape[1] + 1, dtype=np.uint64) * _ODD, bands.shape[:2]
    ).copy()
    for i in range(bands.shape[2]):
        keys ^= bands[:, :, i]
        keys *= _ODD
        keys ^= keys >> np.uint64(29)
    return keys


class NearDuplicates:
    """Tells rows that repeat an earlier one, in about 12 bytes a band and 1 a hash for each row.

    Every key remembers the first row that had it. A row is a near-duplicate when, under any of its keys, that row's
    sketch agrees with its own in `threshold` of the hashes or more. How rows are cut into calls changes nothing.
    """

    def __init__(self, config: DuplicatesConfig) -> None:
        self._threshold = config.threshold
        self._runs: list[tuple[Keys, npt.NDArray[np.uint32]]] = []  # each sorted by key
        self._blocks: list[Sketches] = []
        self._num_hashes = config.num_hashes
        self.num_rows = 0

    def add(self, keys: Keys, sketches: Sketches) -> npt.NDArray[np.bool_]:
        """Take R more rows, and say which of them repeat an earlier one [R]."""
        num_rows, num_bands = keys.shape
        own = np.arange(self.num_rows, self.num_rows + num_rows, dtype=np.uint32)
        self._store(sketches)
        unique, first, inverse = np.unique(keys.ravel(), return_index=True, return_inverse=True)
        holders = own[first // num_bands]
        is_new = np.ones(len(unique), dtype=np.bool_)
        for run_keys, run_rows in self._runs:
            at = np.searchsorted(run_keys, unique)
            at[at == len(run_keys)] = 0
            is_known = run_keys[at] == unique
            holders[is_known] = run_rows[at[is_known]]
            is_new &= ~is_known
        flags = self._repeats(own, holders[inverse].reshape(num_rows, num_bands))
        flags[(keys == 0).all(axis=1)] = False  # no words, nothing to repeat
        is_new &= unique != 0
        self._remember(unique[is_new], holders[is_new])
        return flags

    def _repeats(
        self, own: npt.NDArray[np.uint32], holders: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.bool_]:
        flags = np.zeros(len(own), dtype=np.bool_)
        if not len(own):
            return flags
        rows, bands = np.nonzero(holders < own[:, None])
        if not len(rows):
            return flags
        pairs = np.unique(np.stack([own[rows], holders[rows, bands]], axis=1), axis=0)
        agreement = (self._sketches(pairs[:, 0]) == self._sketches(pairs[:, 1])).mean(axis=1)
        likeness = (agreement - _COLLISIONS) / (1 - _COLLISIONS)
        flags[pairs[likeness >= self._threshold, 0] - own[0]] = True
        return flags

    def _remember(self, keys: Keys, rows: npt.NDArray[np.uint32]) -> None:
        """Keep runs whose sizes at least double, so that each key is merged a few times only."""
        if not len(keys):
            return
        while self._runs and len(self._runs[-1][0]) < 2 * len(keys):
            older_keys, older_rows = self._runs.pop()
            keys, rows = np.concatenate([older_keys, keys]), np.concatenate([older_rows, rows])
            order = np.argsort(keys, kind="stable")
            keys, rows = keys[order], rows[order]
        self._runs.append((keys, rows))

    def _store(self, sketches: Sketches) -> None:
        while len(sketches):
            at = self.num_rows % _BLOCK_ROWS
            if at == 0:
                self._blocks.append(np.zeros((_BLOCK_ROWS, self._num_hashes), dtype=np.uint8))
            taken = sketches[: _BLOCK_ROWS - at]
            self._blocks[-1][at : at + len(taken)] = taken
            self.num_rows += len(taken)
            sketches = sketches[len(taken) :]

    def _sketches(self, rows: npt.NDArray[np.uint32]) -> Sketches:
        found = np.empty((len(rows), self._num_hashes), dtype=np.uint8)
        for block in np.unique(rows // _BLOCK_ROWS):
            here = rows // _BLOCK_ROWS == block
            found[here] = self._blocks[block][rows[here] % _BLOCK_ROWS]
        return found
