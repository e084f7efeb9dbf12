"""Solutions in steps from the ICD-10-CM code list: from a code's meaning to its chapter, with the label of each step.

Half of them go wrong at a step drawn by the seed: from there on they speak of a code of another chapter.
"""

from __future__ import annotations

import random

from medray.config.data import DataConfig
from medray.data.parsing.turns import chat
from medray.data.schemas.icd10_codes import (
    LICENCE,
    PACKAGE,
    ancestors,
    code_table,
    generated_source,
)
from medray.data.source import Source
from medray.types import Record, Step

PREFIX = "icd10-steps"


def read_icd10_steps(config: DataConfig) -> Source:
    """`num_train` and `num_eval` solutions drawn by `data.seed`; the first wrong step (or -1) is in `extra`."""
    return generated_source(
        config, PREFIX, lambda index, allowed: icd10_solution(index, config, allowed)
    )


def icd10_solution(index: int, config: DataConfig, allowed: frozenset[int] | None) -> Record:
    """The solution about code `index`, which speaks of `allowed` codes only."""
    codes = code_table()[0]
    code = codes[index]
    rng = random.Random(f"{config.seed}/{PREFIX}/{code.code}")
    right, wrong = _steps(index, allowed), _steps(_of_another_chapter(index, rng, allowed), allowed)
    first_error = rng.randrange(min(len(right), len(wrong))) if rng.random() < 0.5 else -1
    texts = right if first_error < 0 else [*right[:first_error], *wrong[first_error:]]
    steps = tuple[Step, ...](
        {"content": text, "label": float(first_error < 0 or i < first_error)}
        for i, text in enumerate(texts)
    )
    return Record(
        id=f"{PREFIX}/{code.code}",
        messages=chat(
            user=f"Where does the ICD-10-CM code {code.code} belong? Answer step by step, from its meaning to its"
            " chapter, with a blank line between steps."
        ),
        task="process",
        source=PACKAGE,
        licence=LICENCE,
        group_id=code.code,
        extra={"first_error": first_error},
        steps=steps,
    )


def _steps(index: int, allowed: frozenset[int] | None) -> list[str]:
    code = code_table()[0][index]
    places = [
        f"It belongs to chapter {name}: {meaning}."
        if name.isdigit()
        else f"It belongs to {name}: {meaning}."
        for name, meaning in ancestors(code, allowed)
    ]
    return [f"The code means: {code.meaning}.", *places]


def _of_another_chapter(index: int, rng: random.Random, allowed: frozenset[int] | None) -> int:
    codes = code_table()[0]
    chapter = codes[index].families[2]
    while True:
        other = rng.randrange(len(codes))
        if codes[other].families[2] != chapter and (allowed is None or other in allowed):
            return other
