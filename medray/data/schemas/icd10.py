"""Endless multiple choice from the ICD-10-CM code list: which of four meanings is a code's own."""

from __future__ import annotations

import random

from medray.config.data import DataConfig
from medray.data.schemas.choice import choice_record
from medray.data.schemas.icd10_codes import (
    LICENCE,
    PACKAGE,
    code_table,
    draw_options,
    generated_source,
)
from medray.data.source import Source
from medray.types import Record


def read_icd10(config: DataConfig) -> Source:
    """`num_train` and `num_eval` items drawn by `data.seed`.

    Item i depends only on i, the seed and `num_options`. A held-out code's meaning appears
    nowhere in the training items, neither as the answer nor as a distractor.

    Raises:
        DataError: the package is missing, or more items are asked for than there are codes.
    """
    return generated_source(
        config, "icd10", lambda index, allowed: icd10_item(index, config, allowed)
    )


def icd10_item(index: int, config: DataConfig, allowed: frozenset[int] | None) -> Record:
    """The item about code `index`; distractors come from `allowed` (all codes when None)."""
    codes, _ = code_table()
    code = codes[index]
    rng = random.Random(f"{config.seed}/{code.code}")
    options = draw_options(index, config.num_options, rng, allowed)
    return choice_record(
        f"What does the ICD-10-CM code {code.code} mean?",
        [codes[i].meaning for i in options],
        {options.index(index)},
        id=f"icd10/{code.code}",
        source=PACKAGE,
        licence=LICENCE,
        group_id=code.code,
    )
