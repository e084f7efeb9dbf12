"""Dr. GRPO: GRPO without the two divisions that favor long wrong answers and prompts of little spread.

A = r - mean(r of the group);  loss = sum over tokens / (responses * max_new_tokens)
"""

from __future__ import annotations

from typing import ClassVar

from medray.config.algorithms.base import AlgorithmConfig
from medray.config.policy import Aggregation


class DrGrpo(AlgorithmConfig):
    """GRPO whose denominators are constants."""

    title: ClassVar[str] = "Dr. GRPO"
    paper: ClassVar[str] = "2503.20783"

    kind: str = "dr_grpo"
    """This algorithm."""
    aggregation: Aggregation = "fixed"
    """Sum over tokens / (responses * max_new_tokens), unless set to token or sequence."""
