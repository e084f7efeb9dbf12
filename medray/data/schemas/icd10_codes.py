"""The ICD-10-CM code list as training material: codes, their families, and which are held out.

Source: `simple-icd-10-cm` (MIT), which ships the CDC's public-domain code list.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from medray.config.data import DataConfig
from medray.data.source import Row, Source
from medray.errors import DataError
from medray.types import Record

PACKAGE = "simple-icd-10-cm"
LICENCE = "MIT"
DEFAULT_NUM_TRAIN = 4096
HELD_OUT_EVERY = 8
"""One code in this many is kept for the held-out side, whatever the numbers asked for."""
_EXTENDED_LENGTH = 8  # of "S82.63XR": the seventh character only says which encounter it was
_RANGE = re.compile(r"\s*\([A-Z][0-9A-Z]{2}(?:-[A-Z][0-9A-Z]{2})?\)$")  # behind the names of blocks


@dataclass(frozen=True, slots=True)
class Code:
    """A code, its meaning, and what it belongs to from the narrowest to the widest."""

    code: str
    meaning: str
    families: tuple[str, ...]  # category, block, chapter, and "" for the whole list


MakeRecord = Callable[[int, frozenset[int] | None], Record]
"""(index of a code, codes that the record may speak of or None for all) -> record."""


def generated_source(config: DataConfig, prefix: str, make: MakeRecord) -> Source:
    """`num_train` and `num_eval` records about codes drawn by `data.seed`, called `prefix/code`.

    The sides are the same for every kind made from the list: what one stage trains on, no other holds out.
    A training record may speak of training codes only.

    Raises:
        DataError: the package is missing, or more records are asked for than there are codes.
    """
    codes, digest = code_table()
    held_out, train = _sides(config.seed)
    num_train = DEFAULT_NUM_TRAIN if config.num_train is None else config.num_train
    for key, wanted, side in (
        ("num_train", num_train, train),
        ("num_eval", config.num_eval, held_out),
    ):
        if wanted > len(side):
            raise DataError(
                f"data.{key}={wanted} is more than the {len(side)} ICD-10 codes of that split:"
                f" set data.{key}={len(side)} or less"
            )
    held_out = held_out[: config.num_eval]
    train_set = frozenset(train)

    def rows() -> Iterator[Row]:
        for side, allowed in ((train[:num_train], train_set), (held_out, None)):
            for index in side:
                record = make(index, allowed)
                yield Row(record.id, record)

    return Source(
        name=f"{PACKAGE} {importlib.metadata.version(PACKAGE)}",
        rows=rows(),
        digests={PACKAGE: digest},
        held_out_ids=frozenset(f"{prefix}/{codes[i].code}" for i in held_out),
        is_ordered=True,
    )


def draw_options(
    index: int, num_options: int, rng: random.Random, allowed: frozenset[int] | None
) -> list[int]:
    """The code and others like it, in an order drawn by `rng`."""
    options = [index, *_distractors(index, num_options - 1, rng, allowed)]
    rng.shuffle(options)
    return options


def ancestors(code: Code, allowed: frozenset[int] | None) -> list[tuple[str, str]]:
    """(name, meaning) of what the code belongs to, narrowest first: categories, block, chapter.

    Those that only repeat a meaning are left out, and so are those with the meaning of a code outside `allowed`.
    """
    icd = _package()
    hidden, taken = _hidden(allowed), {code.meaning.casefold()}
    found: list[tuple[str, str]] = []
    for name in icd.get_ancestors(code.code):
        meaning = _RANGE.sub("", icd.get_description(name))
        if meaning.casefold() not in taken and meaning.casefold() not in hidden:
            taken.add(meaning.casefold())
            found.append((name, meaning))
    return found


def other_terms(code: Code, allowed: frozenset[int] | None) -> list[str]:
    """Other names that the list gives the code, without those of codes outside `allowed`."""
    icd = _package()
    terms = [*icd.get_inclusion_term(code.code), *icd.get_includes(code.code)]
    hidden = _hidden(allowed)
    return [term for term in dict.fromkeys(terms) if term.casefold() not in hidden]


def place(code: Code, allowed: frozenset[int] | None) -> str:
    """One sentence on where the code stands in the list."""
    steps = [
        f"chapter {name}, {meaning}" if name.isdigit() else f"{meaning} ({name})"
        for name, meaning in ancestors(code, allowed)
    ]
    return f"{code.code} belongs to {', within '.join(steps)}."


@functools.cache
def code_table() -> tuple[tuple[Code, ...], str]:
    """The finest codes without encounter extensions, one per meaning, and their sha256."""
    icd = _package()
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


def _distractors(
    index: int, count: int, rng: random.Random, allowed: frozenset[int] | None
) -> list[int]:
    """`count` other codes, taken from the narrowest families that have them."""
    chosen: list[int] = []
    for family in code_table()[0][index].families:
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
    order = list(range(len(code_table()[0])))
    random.Random(f"icd10/{seed}").shuffle(order)
    num_held_out = len(order) // HELD_OUT_EVERY
    return order[:num_held_out], order[num_held_out:]


@functools.cache
def _families() -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, code in enumerate(code_table()[0]):
        for family in dict.fromkeys(code.families):  # B20 names both a category and its block
            members.setdefault(family, []).append(index)
    return members


@functools.lru_cache(maxsize=4)
def _hidden(allowed: frozenset[int] | None) -> frozenset[str]:
    """Meanings, in lower case, of the codes outside `allowed`."""
    if allowed is None:
        return frozenset()
    codes = code_table()[0]
    return frozenset(c.meaning.casefold() for i, c in enumerate(codes) if i not in allowed)


def _package() -> Any:
    try:
        import simple_icd_10_cm as icd
    except ImportError as error:
        raise DataError(f"the icd10 kinds need {PACKAGE}: pip install {PACKAGE}") from error
    return icd
