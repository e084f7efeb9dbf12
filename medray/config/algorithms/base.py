"""What every algorithm without a critic has, and the sections that some of them share.

An algorithm is put together from parts that know nothing of each other:

    part                    key                            where it is computed
    advantage estimator     kind, or advantage             training/advantages.py, on the batch's rewards
    reward shaping          kl (place=reward), overlong    training/advantages.py
    batch hook              dynamic_sampling               training/sampling.py
    token loss              loss, clip_*, ratio            learners/objectives/token_losses.py
    mismatch correction     correction                     learners/objectives/corrections.py
    KL to the reference     kl (place=loss)                learners/objectives/policy_gradient.py
    teacher                 distill                        learners/objectives/distill.py
    entropy bonus           entropy_coef                   learners/objectives/entropy.py
    aggregation             aggregation                    losses/reduce.py
    optimizer steps         minibatches, epochs            training/batch.py

A class in this folder gives these keys its defaults and adds the keys that only it reads. Neither the driver nor the
learner asks which algorithm runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.parts import AdvantageName, KlEstimatorName
from medray.config.policy import KlConfig, PolicyConfig


class DynamicSamplingConfig(Section):
    """Replace groups whose graded rewards all tie by further prompts, until the batch is full."""

    max_rounds: int = Field(default=8, ge=1)
    """Rollouts per step, the first included; then the batch is completed with tied groups, which train nothing."""


class OverlongConfig(Section):
    """Soft penalty on responses that come near `rollout.max_new_tokens` (arXiv:2503.14476 eq. 13)."""

    share: float = Field(default=0.2, gt=0, le=1)
    """Part of the limit over which the penalty rises from nothing to its full size."""
    factor: float = Field(default=1.0, gt=0)
    """Reward subtracted from a response of full length."""


class RewardKl(KlConfig):
    """Penalty that is part of the reward of a response."""

    estimator: KlEstimatorName = "k1"
    """As in every algorithm; k1 is the one that is right inside a reward."""
    place: Literal["loss", "reward"] = "reward"
    """Subtract the penalty from the reward of each response, or differentiate it in the loss."""


class AlgorithmConfig(PolicyConfig):
    """An algorithm without a critic: GRPO's family, and your own as `package.module:ClassName`."""

    title: ClassVar[str] = ""
    """As its authors write it."""
    paper: ClassVar[str] = ""
    """arXiv identifier."""
    estimator: ClassVar[str] = "group"
    """Its advantages, by their name in training/advantages.py."""
    compares_within_group: ClassVar[bool] = True
    """Whether its own advantages need two responses per prompt."""

    kind: str
    """grpo, dr_grpo, rloo, reinforce_pp, reinforce_pp_baseline, remax, opo, pass_at_k, gdpo, dapo, gspo, gmpo, cispo,
    sapo, dppo, distill, or your own class as `package.module:ClassName`."""
    advantage: AdvantageName = None
    """Your own advantages as `package.module:name`; null takes those of the algorithm."""
    dynamic_sampling: DynamicSamplingConfig | None = None
    """Refill the batch with groups that have a signal; null trains on what the first prompts gave."""
    overlong: OverlongConfig | None = None
    """Penalize length near the limit; null leaves the reward alone."""
    zero_advantages: bool = False
    """Control experiment: train on advantages of zero, so nothing may improve."""

    @property
    def min_samples(self) -> int:
        """Fewest responses per prompt that the algorithm can work with."""
        compares = self.compares_within_group and self.advantage is None
        return 2 if compares or self.dynamic_sampling is not None else 1

    @model_validator(mode="before")
    @classmethod
    def _read_switches(cls, given: Any) -> Any:
        """Take true and false for the sections that have defaults for all their keys."""
        if not isinstance(given, Mapping):
            return given
        keys = dict(cast("Mapping[str, Any]", given))
        for name in {"dynamic_sampling", "overlong"} & cls.model_fields.keys():
            if isinstance(keys.get(name), bool):
                keys[name] = {} if keys[name] else None
        return keys


class GroupScaled(AlgorithmConfig):
    """Advantages relative to the group's mean, whose scale is a choice."""

    advantage_scale: Literal["none", "std"] = "none"
    """Divide the group's centered rewards by their sample standard deviation, or leave them (arXiv:2503.20783)."""
