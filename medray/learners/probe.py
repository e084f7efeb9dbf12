"""The text an engine is tested with after every weight sync."""

from __future__ import annotations

from typing import Any

import numpy as np

from medray.config.rollout import BLOCK_TOKENS
from medray.data.batches.trees import sequence_tree
from medray.learners.scorer import Scorer
from medray.types import Probe

BEYOND = 8  # tokens after the first cache block, so that a stale prefix cache shows
TEXT = (
    "A 64-year-old woman comes to the clinic because of breathlessness on exertion and swollen ankles that have "
    "become worse over three weeks. Her blood pressure is 152/94 mmHg and her pulse is 96/min. There are crackles "
    "at both lung bases. 患者既往有高血压病史十年,未规律服药。Which investigation should be done next, and why?\n"
)


def probe_tokens(tokenizer: Any, block_tokens: int) -> list[int]:
    """Token ids of a fixed English and Chinese text, some more than a block of the engine's cache."""
    ids: list[int] = list(tokenizer(TEXT, add_special_tokens=False)["input_ids"])
    num = block_tokens + BEYOND
    return (ids * -(-num // len(ids)))[:num]


def make_probe(scorer: Scorer, block_tokens: int = BLOCK_TOKENS) -> Probe:
    """Score the probe text under the learner's present weights, at temperature 1.

    Args:
        scorer: of the learner.
        block_tokens: of the engine that will be tested (`rollout.engine.block_tokens`, or its default).
    """
    ids = probe_tokens(scorer.policy.tokenizer, block_tokens)
    [(logp,)] = scorer.logprobs([sequence_tree(ids)], temperature=1.0)
    return Probe(np.asarray(ids, dtype=np.int32), logp)
