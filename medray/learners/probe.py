"""The text an engine is tested with after every weight sync."""

from __future__ import annotations

from typing import Any

import numpy as np

from medray.learners.scorer import Scorer
from medray.learners.trees import sequence_tree
from medray.types import Probe

NUM_TOKENS = 40  # more than a cache block of 32, so that a stale prefix cache shows
TEXT = (
    "A 64-year-old woman comes to the clinic because of breathlessness on exertion and swollen ankles that have "
    "become worse over three weeks. Her blood pressure is 152/94 mmHg and her pulse is 96/min. There are crackles "
    "at both lung bases. 患者既往有高血压病史十年,未规律服药。Which investigation should be done next, and why?\n"
)


def probe_tokens(tokenizer: Any) -> list[int]:
    """`NUM_TOKENS` token ids of a fixed English and Chinese text."""
    ids: list[int] = list(tokenizer(TEXT, add_special_tokens=False)["input_ids"])
    repeats = -(-NUM_TOKENS // len(ids))
    return (ids * repeats)[:NUM_TOKENS]


def make_probe(scorer: Scorer) -> Probe:
    """Score the probe text under the learner's present weights, at temperature 1."""
    ids = probe_tokens(scorer.policy.tokenizer)
    [(logp,)] = scorer.logprobs([sequence_tree(ids)], temperature=1.0)
    return Probe(np.asarray(ids, dtype=np.int32), logp)
