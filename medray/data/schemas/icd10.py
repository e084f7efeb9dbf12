"""Endless multiple choice from the ICD-10-CM code list: which of four meanings is a code's own.

Source: `simple-icd-10-cm` (MIT), which ships the CDC's public-domain code list.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import random
from collections.abc import Iterator
from dataclasses import dataclass

from medray.config.data import DataConfig
from medray.data.schemas.choice import choice_record
from medray.data.source import Row, Source
from medray.errors import DataError
from medray.types import Record

PACKAGE = "simple-icd-10-cm"
DEFAULT_NUM_TRAIN = 4096
HELD_OUT_EVERY = 8
"""One code in this many is kept for the held-out side, whatever the numbers asked for."""
_EXTENDED_LENGTH = 8  # of "S82.63XR": the seventh character only says which encounter it was


@dataclass(frozen=True, slots=True)
class Code:
    """A code, its meaning, and what it belongs to from the narrowest to the widest."""

    code: str
    meaning: str
    families: tuple[str, ...]  # category, block, chapter, and "" for the whole list


def read_icd10(config: DataConfig) -> Source:
    """`num_train` and `num_eval` items drawn by `data.seed`.

    Item i depends only on i, the seed and `num_options`. A held-out code's meaning appears
    nowhere in the training items, neither as the answer nor as a distractor.

    Raises:
        DataError: the package is missing, or more items are asked for than there are codes.
    """
    codes, digest = _code_table()
    held_out, train = _sides(config.seed)
    num_train = DEFAULT_NUM_TRAIN if config.num_train is None else config.num_train
    for key, wanted, side in (
        ("num_train", num_train, train),
        ("num_eval", config.num_eval, held_out),
    ):
        if wanted > len(side):
            raise DataError(
                f"data.{key}={wanted} asks for more than the {len(side)} ICD-10 codes of that side:"
                f" set data.{key}={len(side)} or less"
            )
    held_out = held_out[: config.num_eval]
    train_set = frozenset(train)

    def rows() -> Iterator[Row]:
        for index in train[:num_train]:
            yield _row(_item(index, config, train_set))
        for index in held_out:
            yield _row(_item(index, config, None))

    return Source(
        name=f"{PACKAGE} {importlib.metadata.version(PACKAGE)}",
        rows=rows(),
        digests={PACKAGE: digest},
        held_out_ids=frozenset(f"icd10/{codes[i].code}" for i in held_out),
        is_ordered=True,
    )


def _row(record: Record) -> Row:
    return Row(record.id, record)


def _item(index: int, config: DataConfig, allowed: frozenset[int] | None) -> Record:
    """The item about code `index`; distractors come from `allowed` (all codes when None)."""
    codes, _ = _code_table()
    code = codes[index]
    rng = random.Random(f"{config.seed}/{code.code}")
    options = [index, *_distractors(index, config.num_options - 1, rng, allowed)]
    rng.shuffle(options)
    return choice_record(
        f"What does the ICD-10-CM code {code.code} mean?",
        [codes[i].meaning for i in options],
        {options.index(index)},
        id=f"icd10/{code.code}",
        source=PACKAGE,
        licence="MIT",
        group_id=code.code,
    )


def _distractors(
    index: int, count: int, rng: random.Random, allowed: frozenset[int] | None
) -> list[int]:
    """`count` other codes, taken from the narrowest families that have them."""
    chosen: list[int] = []
    for family in _code_table()[0][index].families:
        near = [
            i
            for i in _families()[family]
            if i != index and i not in chosen and (allowed is None or i in allowed)
        ]
        missing = count - len(chosen)
        chosen += near if len(near) < missing else rng.sample(near, missing)
        if len(chosen) == count:
            break
    return chosen


@functools.cache
def _sides(seed: int) -> tuple[list[int], list[int]]:
    order = list(range(len(_code_table()[0])))
    random.Random(f"icd10/{seed}").shuffle(order)
    num_held_out = len(order) // HELD_OUT_EVERY
    return order[:num_held_out], order[num_held_out:]


@functools.cache
def _families() -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, code in enumerate(_code_table()[0]):
        for family in dict.fromkeys(code.families):  # B20 names both a category and its block
            members.setdefault(family, []).append(index)
    return members


@functools.cache
def _code_table() -> tuple[tuple[Code, ...], str]:
    """The finest codes without encounter extensions, one per meaning, and their sha256."""
    try:
        import simple_icd_10_cm as icd
    except ImportError as error:
        raise DataError(f"data.kind=icd10 needs {PACKAGE}: pip install {PACKAGE}") from error
    table: dict[str, Code] = {}
    for name in icd.get_all_codes():
        if not icd.is_category_or_subcategory(name) or len(name) >= _EXTENDED_LENGTH:
            continue
        if any(len(child) < _EXTENDED_LENGTH for child in icd.get_children(name)):
            continue
        meaning = icd.get_description(name)
        *_, block, chapter = icd.get_ancestors(name)
        table.setdefault(meaning.casefold(), Code(name, meaning, (name[:3], block, chapter, "")))
    codes = tuple(table.values())
    listing = "\n".join(f"{c.code}\t{c.meaning}" for c in codes)
    return codes, hashlib.sha256(listing.encode()).hexdigest()
