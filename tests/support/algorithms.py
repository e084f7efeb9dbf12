"""Every algorithm once, with bounds wide enough that a random batch has tokens on both sides of them."""

from __future__ import annotations

from typing import Any

from medray.config.algorithms.base import AlgorithmConfig
from medray.config.algorithms.registry import ALGORITHMS, checked_algorithm

WIDE: dict[str, dict[str, Any]] = {
    "gspo": {"clip_low": 0.1, "clip_high": 0.1},
    "cispo": {"clip_high": 0.2},
    "gmpo": {"clip_low": 0.1, "clip_high": 0.1},
    "dppo": {"clip_low": 1e-4, "clip_high": 1e-4},
}

REWARDED = [name for name in ALGORITHMS if name != "distill"]
"""Algorithms with advantages."""
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"kind": name} | WIDE.get(name, {}) for name in REWARDED},
    "grpo_kl": {"kind": "grpo", "kl": {"coef": 0.1, "estimator": "k2"}},
    "tis": {"correction": {"kind": "tis", "high": 1.1}},
    "icepop": {"correction": {"kind": "icepop", "low": 0.8, "high": 1.2}},
    "sequence_mask": {"correction": {"kind": "sequence_mask", "low": 0.9, "high": 1.1}},
    "grpo_unbiased_kl": {"kl": {"coef": 0.1, "unbiased": True}},
    "dual_clip": {"clip_dual": 1.3},
    "off_policy_mask": {"off_policy_mask": 0.01},
    "dppo_kl": {"kind": "dppo", "loss": "dppo_kl", "clip_low": 1e-5, "clip_high": 1e-5},
    "clip_cov": {"loss": {"kind": "clip_cov", "options": {"share": 0.1, "low": 0.001, "high": 9}}},
    "kl_cov": {"loss": {"kind": "kl_cov", "options": {"share": 0.1, "coef": 2}}},
    "sequence_tis": {"correction": {"kind": "sequence_tis", "high": 1.1}},
    "sequence_mis": {"correction": {"kind": "sequence_mis", "low": 0.5, "high": 1.5}},
    "two_corrections": {
        "correction": [
            {"kind": "tis", "high": 1.1},
            {"kind": "sequence_mask", "low": 0.9, "high": 1.1},
        ]
    },
    "tis_of_two_steps": {"correction": {"kind": "tis", "high": 1.1}, "minibatches": 2},
    "gspo_of_two_steps": {
        "kind": "gspo",
        "ratio": "old",
        "minibatches": 2,
        "clip_low": 0.1,
        "clip_high": 0.1,
    },
}


def algorithm(name: str) -> AlgorithmConfig:
    """The settings as checked configuration."""
    return checked_algorithm(SETTINGS[name])
