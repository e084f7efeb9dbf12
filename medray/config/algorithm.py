"""Which algorithm trains the policy: a preset, and any key beside it.

An algorithm is put together from parts that know nothing of each other:

    part                    key                            where it is computed
    advantage estimator     advantage, advantage_scale     training/advantages.py, on the batch's rewards
    reward shaping          kl (place=reward), overlong    training/advantages.py
    batch hook              dynamic_sampling               training/sampling.py
    token loss              loss, clip_*, ratio            learners/objectives/token_losses.py
    mismatch correction     correction                     learners/objectives/corrections.py
    KL to the reference     kl (place=loss)                learners/objectives/policy_gradient.py
    teacher                 distill                        learners/objectives/distill.py
    entropy bonus           entropy_coef                   learners/objectives/policy_gradient.py
    aggregation             aggregation                    losses/reduce.py
    optimizer steps         minibatches, epochs            training/batch.py

`preset` names a set of values for these keys (`config/algorithms/`, one file each); a key that is written down
wins over the preset. Neither the driver nor the learner asks which algorithm runs, so one more of the same parts
is a file in `config/algorithms/` and a line in its registry; a new part is a function where the table says and a
line in the table there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from medray.config.algorithms.registry import PRESETS
from medray.config.base import Section
from medray.config.policy import PolicyConfig


class DynamicSamplingConfig(Section):
    """Replace groups whose graded rewards all tie by further prompts, until the batch is full."""

    max_rounds: int = Field(default=8, ge=1)
    """Rollouts a step, the first included; then the batch is completed with tied groups, which train nothing."""


class OverlongConfig(Section):
    """Soft penalty on responses that come near `rollout.max_new_tokens` (arXiv:2503.14476 eq. 13)."""

    share: float = Field(default=0.2, gt=0, le=1)
    """Part of the limit over which the penalty rises from nothing to its full size."""
    factor: float = Field(default=1.0, gt=0)
    """Reward subtracted from a response of full length."""


class AlgorithmConfig(PolicyConfig):
    """The algorithm; the module's text says which part each key belongs to."""

    preset: str = "grpo"
    """Named algorithm that fills the keys not given here: grpo, dr_grpo, rloo, reinforce_pp, reinforce_pp_baseline,
    remax, dapo, gspo or cispo."""
    advantage: Literal[
        "group", "rloo", "reinforce_pp", "reinforce_pp_baseline", "remax", "none"
    ] = "group"
    """How rewards become advantages; group subtracts the group's mean (arXiv:2402.03300), none ignores rewards."""
    advantage_scale: Literal["none", "std"] = "none"
    """Divide the group's centred rewards by their sample standard deviation, or leave them (arXiv:2503.20783)."""
    dynamic_sampling: DynamicSamplingConfig | None = None
    """Refill the batch with groups that have a signal; null trains on what the first prompts gave."""
    overlong: OverlongConfig | None = None
    """Penalise length near the limit; null leaves the reward alone."""
    zero_advantages: bool = False
    """Control experiment: train on advantages of zero, so nothing may improve."""

    @property
    def uses_advantages(self) -> bool:
        """Whether the policy loss has a gradient from rewards."""
        return self.advantage != "none"

    @property
    def min_samples(self) -> int:
        """Fewest responses a prompt that the algorithm can work with."""
        compares = self.advantage not in ("reinforce_pp", "remax", "none")
        return 2 if compares or self.dynamic_sampling is not None else 1

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        keys = dict(cast("Mapping[str, Any]", given))
        for block in ("dynamic_sampling", "overlong"):  # true and false as one would write them
            if isinstance(keys.get(block), bool):
                keys[block] = {} if keys[block] else None
        preset = PRESETS.get(str(keys.get("preset", "grpo")))
        return _merged(preset.keys, keys) if preset else keys

    @field_validator("preset")
    @classmethod
    def _preset_is_known(cls, name: str) -> str:
        if name not in PRESETS:
            guess = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
            hint = f"did you mean {guess[0]}? " if guess else ""
            raise ValueError(f"{name!r} is unknown: {hint}(one of {', '.join(PRESETS)})")
        return name

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.advantage_scale == "std" and self.advantage != "group":
            raise ValueError(
                f"advantage_scale=std belongs to advantage=group and does nothing for {self.advantage}: "
                "set algorithm.advantage_scale=none"
            )
        if self.advantage == "none" and self.distill is None:
            raise ValueError(
                "advantage=none leaves nothing to train on: set algorithm.distill.teacher.path, or another advantage"
            )
        return self


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {**defaults, **given}
    for key in defaults.keys() & given.keys():
        below, above = defaults[key], given[key]
        if isinstance(above, Section):
            above = above.model_dump(exclude_unset=True)
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            out[key] = _merged(cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", above))
    return out
