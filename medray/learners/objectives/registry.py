"""The objectives of the supervised stages by name: one line a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medray.config.base import Section
from medray.errors import ConfigError
from medray.learners.objectives.base import Objective
from medray.learners.objectives.cross_entropy import CrossEntropy
from medray.learners.objectives.kto import Kto
from medray.learners.objectives.odds_ratio import OddsRatio
from medray.learners.objectives.preference import preference
from medray.learners.objectives.process_reward import StepReward
from medray.learners.objectives.reward_model import BradleyTerry

OBJECTIVES: Mapping[str, Callable[[Any], Objective]] = {
    "pt": CrossEntropy,
    "sft": CrossEntropy,
    "rm": BradleyTerry,
    "prm": StepReward,
    "dpo": preference,
    "orpo": OddsRatio,
    "kto": Kto,
}
"""Method -> what makes its objective from the job's `loss` section."""


def build_objective(method: str, loss: Section) -> Objective:
    """The objective of a method, from the `loss` section of its job.

    Raises:
        ConfigError: there is no such method.
    """
    if method not in OBJECTIVES:
        raise ConfigError(f"unknown method {method!r}: use one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[method](loss)
