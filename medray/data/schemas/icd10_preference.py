"""Preference pairs from the ICD-10-CM code list: the right option against a wrong one, the right form against others.

Half of the pairs differ in the option only and are about as long; of the others one half prefers the shorter and one
half the longer answer, so that length alone tells nothing.
"""

from __future__ import annotations

import random
from dataclasses import replace

from medray.config.data import DataConfig
from medray.data.parsing.turns import chat
from medray.data.schemas.choice import LETTERS
from medray.data.schemas.icd10 import icd10_item
from medray.data.schemas.icd10_codes import code_table, generated_source, place
from medray.data.schemas.icd10_sft import ask_to_explain, named_answer
from medray.data.source import Source
from medray.types import Record

PREFIX = "icd10-preference"
PAIRS = ("letter", "option", "rambling", "bare")
"""Wrong letter; wrong option by name; the letter buried in talk; a letter where an explanation was asked for."""


def read_icd10_preference(config: DataConfig) -> Source:
    """`num_train` and `num_eval` pairs drawn by `data.seed`; the kind of each is in `extra`."""
    return generated_source(
        config, PREFIX, lambda index, allowed: icd10_pair(index, config, allowed)
    )


def icd10_pair(index: int, config: DataConfig, allowed: frozenset[int] | None) -> Record:
    """The pair about code `index`, which speaks of `allowed` codes only."""
    code = code_table()[0][index]
    rng = random.Random(f"{config.seed}/{PREFIX}/{code.code}")
    pair = rng.choice(PAIRS)
    item = icd10_item(index, config, allowed)
    wrong = rng.choice([c for c in LETTERS[: len(item.options)] if c != item.answer])
    explained = f"{named_answer(item)}\n{place(code, allowed)}"
    question = item.messages[0]["content"]
    match pair:
        case "letter":
            chosen, rejected = item.answer, wrong
        case "option":
            question = ask_to_explain(item)
            chosen = explained
            rejected = f"{named_answer(item, wrong)}\n{place(code, allowed)}"
        case "rambling":
            chosen, rejected = item.answer, _rambling(item, wrong, rng)
        case _:
            question = ask_to_explain(item)
            chosen, rejected = explained, item.answer
    return replace(
        item,
        id=f"{PREFIX}/{code.code}",
        messages=chat(user=question),
        chosen=chat(assistant=chosen),
        rejected=chat(assistant=rejected),
        task="preference",
        extra={"pair": pair},
    )


def _rambling(item: Record, wrong: str, rng: random.Random) -> str:
    """Talk around the right option that never settles on the form asked for."""
    names = [item.options[LETTERS.index(letter)] for letter in (item.answer, wrong)]
    rng.shuffle(names)
    opening = rng.choice(
        ("That is a good question.", "Codes like this can be confusing.", "Let me think about it.")
    )
    closing = rng.choice(
        (
            f"I would lean towards option {item.answer}, but you may want to look it up.",
            f"So it is probably {item.answer}, although I cannot be sure.",
            f"Option {item.answer} seems to fit best. Is there anything else I can help with?",
        )
    )
    return f"{opening} It could stand for {names[0]}, or perhaps for {names[1]}. {closing}"
