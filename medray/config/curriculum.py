"""Which prompts RL draws: by how often the policy answers them right."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section


class CurriculumConfig(Section):
    """Draw prompts by their running pass rate instead of once per epoch. The rates are part of a checkpoint."""

    threshold: float = 0.5
    """A response passes if its reward is above this."""
    sampling: Literal["learnability", "uniform"] = "learnability"
    """learnability: in proportion to p (1 - p) of the prompt's pass rate p (arXiv:2502.12272), 1/2 before it is known;
    uniform: all prompts alike."""
    floor: float = Field(default=0.05, ge=0, le=1)
    """Least weight of a prompt, relative to one with a pass rate of 1/2: prompts that always or never pass still
    return at times."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """Weight of the old rate when a prompt is sampled again."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """Share of draws from hard prompts that were sampled before, as far as there are any."""
    hard: float = Field(default=0.25, ge=0, lt=1)
    """A prompt is hard while its rate is at most this."""
    measure: int = Field(default=0, ge=0)
    """Responses per prompt sampled before the first step to measure all pass rates; 0 measures none."""
    low: float = Field(default=0.0, ge=0, le=1)
    """Leave out prompts whose measured rate is below this."""
    high: float = Field(default=1.0, ge=0, le=1)
    """Leave out prompts whose measured rate is above this."""

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.low > self.high:
            raise ValueError(
                f"low={self.low:g} is above high={self.high:g}, so no prompt would be left: set low below high"
            )
        if (self.low > 0 or self.high < 1) and not self.measure:
            raise ValueError(
                "low and high are bounds of the measured pass rate: set curriculum.measure to the number of responses "
                "per prompt"
            )
        if self.sampling == "learnability" and self.floor == 0:
            raise ValueError(
                "with floor=0 prompts that always or never pass would not be drawn again, until none is left: set "
                "curriculum.floor above 0"
            )
        return self
