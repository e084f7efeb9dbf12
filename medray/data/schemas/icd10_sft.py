"""Demonstrations from the ICD-10-CM code list: questions about codes, each answered in the form it asks for.

Half of them are the items of `icd10` answered with the letter; the others name and explain the right option, tell a
code's meaning, or say where a code belongs.
"""

from __future__ import annotations

import random
from dataclasses import replace

from medray.config.data import DataConfig
from medray.data.parsing.turns import chat
from medray.data.schemas.choice import INSTRUCTION, LETTERS
from medray.data.schemas.icd10 import icd10_item
from medray.data.schemas.icd10_codes import code_table, generated_source, place
from medray.data.source import Source
from medray.types import Record

PREFIX = "icd10-sft"
FORMS = ("letter", "explained", "meaning", "place")
WEIGHTS = (4, 2, 1, 1)
EXPLAIN = "Name the right option and explain it in one sentence."


def read_icd10_sft(config: DataConfig) -> Source:
    """`num_train` and `num_eval` demonstrations drawn by `data.seed`; the form of each is in `extra`."""
    return generated_source(
        config, PREFIX, lambda index, allowed: icd10_demonstration(index, config, allowed)
    )


def icd10_demonstration(index: int, config: DataConfig, allowed: frozenset[int] | None) -> Record:
    """The demonstration about code `index`, which speaks of `allowed` codes only."""
    code = code_table()[0][index]
    rng = random.Random(f"{config.seed}/{PREFIX}/{code.code}")
    (form,) = rng.choices(FORMS, WEIGHTS)
    item = icd10_item(index, config, allowed)
    record = replace(item, id=f"{PREFIX}/{code.code}", extra={"form": form})
    match form:
        case "letter":
            return replace(
                record, messages=chat(user=item.messages[0]["content"], assistant=item.answer)
            )
        case "explained":
            return replace(
                record,
                messages=chat(
                    user=ask_to_explain(item),
                    assistant=f"{named_answer(item)}\n{place(code, allowed)}",
                ),
            )
        case "meaning":
            question = f"What does the ICD-10-CM code {code.code} mean?"
            answer = code.meaning
        case _:
            question = f"Where in ICD-10-CM does {code.code}, {code.meaning}, belong?"
            answer = place(code, allowed)
    messages = chat(user=question, assistant=answer)
    return replace(record, messages=messages, answer=answer, options=(), task="qa")


def ask_to_explain(item: Record) -> str:
    """The item's question with a request for the option's name in place of the letter."""
    return item.messages[0]["content"].removesuffix(INSTRUCTION["en", False]) + EXPLAIN


def named_answer(item: Record, letter: str | None = None) -> str:
    """An option, the right one by default, as `B. its text`."""
    letter = letter or item.answer
    return f"{letter}. {item.options[LETTERS.index(letter)]}"
