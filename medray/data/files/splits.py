"""Which side of a split a file, or a list in a file, is named after."""

from __future__ import annotations

import re
from typing import Literal

Split = Literal["train", "validation", "test"]
HELD_OUT: tuple[Split, ...] = ("validation", "test")
"""Sides that nothing is trained on."""
_NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "trn": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "validate": "validation", "test": "test", "testing": "test",
    "eval": "test", "evaluation": "test", "heldout": "test",
}  # fmt: skip
_WORDS = re.compile(r"[^a-z]+")


def split_of(name: str) -> Split | None:
    """The side that a file (`data/train-00000-of-00002.parquet`), a folder or a key is named after; None for none.

    The last part of the name that says a side decides: `training_data/test.jsonl` is a test set.
    """
    for part in reversed(
        name.lower().replace("held_out", "heldout").replace("held-out", "heldout").split("/")
    ):
        found: set[Split] = {_NAMES[word] for word in _WORDS.split(part) if word in _NAMES}
        if len(found) == 1:
            return found.pop()
    return None
