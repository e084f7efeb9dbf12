"""Endless calculation problems: a note, a question that a medical calculator answers, and the value it gives.

Answers come from the `medcalc-bench` package (`medray/medical/calculators`). Held-out problems use calculators that no
training problem uses, and, in turns, training calculators in phrasings that no training problem has.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import random
from collections.abc import Iterator, Sequence

from medray.config.data import DataConfig
from medray.data.parsing.turns import chat
from medray.data.source import Row, Source
from medray.errors import DataError
from medray.medical.calculators.catalog import Calculator, calculators
from medray.medical.calculators.notes import (
    HELD_OUT_PHRASINGS,
    TRAIN_PHRASINGS,
    ask,
    write_note,
)
from medray.medical.calculators.oracle import PACKAGE, draw_case
from medray.types import Record

DEFAULT_NUM_TRAIN = 4096
HELD_OUT_EVERY = 5
"""One calculator in this many is kept for the held-out side."""
TOLERANCE = 0.05
"""MedCalc-Bench's, of equations."""


def read_calculators(config: DataConfig) -> Source:
    """`num_train` and `num_eval` problems in English, drawn by `data.seed`.

    Raises:
        DataError: the package is missing.
    """
    return _source(config, "en")


def read_calculators_zh(config: DataConfig) -> Source:
    """The same problems, with notes and questions in Chinese."""
    return _source(config, "zh")


def calculator_sides(seed: int) -> tuple[list[Calculator], list[Calculator]]:
    """Training and held-out calculators, drawn by the seed."""
    order = list(calculators())
    random.Random(f"calculators/{seed}").shuffle(order)
    count = len(order) // HELD_OUT_EVERY
    return order[count:], order[:count]


def problem(
    index: int,
    calculator: Calculator,
    phrasings: Sequence[str],
    seed: int,
    language: str,
    side: str,
) -> Record:
    """Problem `index` of a side; it depends on its arguments only."""
    rng = random.Random(f"{seed}/{language}/{side}/{index}")
    case = draw_case(calculator, rng)
    phrasing = rng.choice(phrasings)
    note = write_note(case, phrasing, language, rng)
    heading = "病历" if language == "zh" else "Patient note"
    width = 0.0 if calculator.is_rule else TOLERANCE * abs(case.answer)
    return Record(
        id=f"calculators/{language}/{side}/{index}",
        messages=chat(user=f"{heading}:\n{note}\n\n{ask(case, language)}"),
        answer=f"{case.answer:g} {calculator.unit}".strip(),
        task="calculation",
        lang=language,
        source=PACKAGE,
        licence="Apache-2.0",
        group_id=f"{side}/{index}",
        extra={
            "calculator": calculator.module,
            "phrasing": phrasing,
            "output_type": "integer" if calculator.is_rule else "decimal",
            "lower_limit": f"{case.answer - width:.6g}",
            "upper_limit": f"{case.answer + width:.6g}",
        },
    )


def _source(config: DataConfig, language: str) -> Source:
    train, held_out = calculator_sides(config.seed)
    num_train = DEFAULT_NUM_TRAIN if config.num_train is None else config.num_train
    make = functools.partial(problem, seed=config.seed, language=language)

    def rows() -> Iterator[Row]:
        for i in range(num_train):
            record = make(i, train[i % len(train)], TRAIN_PHRASINGS, side="train")
            yield Row(record.id, record)
        for i in range(config.num_eval):
            by_calculator = i % 2 == 0
            pool = held_out if by_calculator else train
            phrasings = (
                (*TRAIN_PHRASINGS, *HELD_OUT_PHRASINGS) if by_calculator else HELD_OUT_PHRASINGS
            )
            record = make(i, pool[i // 2 % len(pool)], phrasings, side="held_out")
            yield Row(record.id, record)

    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            f"data.kind={config.kind} needs the package {PACKAGE}: pip install {PACKAGE}"
        ) from None
    digest = hashlib.sha256(f"{PACKAGE} {version} {calculators()!r}".encode()).hexdigest()
    return Source(
        name=f"{PACKAGE} {version}",
        rows=rows(),
        digests={PACKAGE: digest},
        held_out_ids=frozenset(
            f"calculators/{language}/held_out/{i}" for i in range(config.num_eval)
        ),
        is_ordered=True,
    )
