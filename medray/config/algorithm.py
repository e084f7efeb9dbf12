"""Which algorithm trains the policy: a preset, and any key beside it.

An algorithm is put together from parts that know nothing of each other:

    part                    key                            where it is computed
    advantage estimator     advantage, advantage_scale     drivers/advantages.py, on the batch's rewards
    reward shaping          kl (place=reward), overlong    drivers/advantages.py
    batch hook              dynamic_sampling               drivers/sampling.py
    token loss              loss, clip_*, ratio            learners/objectives/token_losses.py
    mismatch correction     correction                     learners/objectives/corrections.py
    KL to the reference     kl (place=loss)                learners/objectives/policy_gradient.py
    teacher                 distill                        learners/objectives/distill.py
    aggregation             aggregation                    losses/reduce.py
    optimizer steps         minibatches, epochs            drivers/batch.py

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
from medray.config.model import ModelConfig


class KlConfig(Section):
    """Penalty that keeps the policy near the reference model."""

    coef: float = Field(default=0.0, ge=0)
    """Factor of the penalty; 0 starts no reference model and computes nothing."""
    estimator: Literal["k1", "k2", "k3"] = "k3"
    """Schulman's estimators of KL(policy || reference): k1 = log ratio, k2 = half its square, k3 = r - 1 - log r."""
    place: Literal["loss", "reward"] = "loss"
    """Differentiate the penalty in the loss, or subtract it from the reward of each response."""


DEFAULT_BOUNDS: dict[str, tuple[float, float]] = {
    "tis": (0.0, 2.0),
    "icepop": (0.5, 5.0),
    "sequence_mask": (0.99, 1.01),
}


class CorrectionConfig(Section):
    """Weight tokens by w = p_learner / p_engine under the same weights.

    tis: min(w, high) (F. Yao et al., 2025). icepop: w where it lies in the bounds, else 0 (arXiv:2510.18855).
    sequence_mask: 1 where the geometric mean of w over the response lies in the bounds, else 0 (J. Liu et al., 2025).
    """

    kind: Literal["tis", "icepop", "sequence_mask"]
    """Which one."""
    low: float | None = Field(default=None, ge=0)
    """Lower bound; None takes 0.5 for icepop, 0.99 for sequence_mask; tis has none."""
    high: float | None = Field(default=None, gt=0)
    """Upper bound; None takes 2 for tis, 5 for icepop, 1.01 for sequence_mask."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds in force."""
        low, high = DEFAULT_BOUNDS[self.kind]
        return low if self.low is None else self.low, high if self.high is None else self.high

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.kind == "tis" and self.low is not None:
            raise ValueError(f"low={self.low} does nothing for kind=tis: leave it out")
        low, high = self.bounds
        if low >= high:
            raise ValueError(f"low={low} is not below high={high}: nothing would be trained on")
        return self


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


class DistillConfig(Section):
    """On-policy distillation (arXiv:2306.13649): on the student's own tokens, come near the teacher's distribution."""

    teacher: ModelConfig
    """A frozen model with the student's vocabulary; every learner rank holds one."""
    divergence: Literal["forward_kl", "reverse_kl", "jsd"] = "reverse_kl"
    """forward_kl covers what the teacher may say, reverse_kl avoids what it would not, jsd mixes the two."""
    beta: float = Field(default=0.5, gt=0, lt=1)
    """Weight of the teacher in the mixture of jsd."""
    coef: float = Field(default=1.0, gt=0)
    """Factor of the divergence beside the policy loss."""


class AlgorithmConfig(Section):
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
    loss: Literal["clipped", "gspo", "cispo"] = "clipped"
    """Loss of a token: PPO's clipped ratio, GSPO's clipped ratio of the response, or CISPO's clipped weight."""
    ratio: Literal["auto", "behaviour", "old"] = "auto"
    """What the policy is compared with: the engine's log-probabilities, or the learner's own from the start of the
    batch; auto is old where `correction` carries the difference between the two, else behaviour."""
    aggregation: Literal["token", "sequence", "fixed"] = "token"
    """token: mean over the step's trained tokens; sequence: mean over responses of their token mean;
    fixed: sum over tokens / (responses * max_new_tokens)."""
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """The ratio is clipped below at 1 - clip_low."""
    clip_high: float = Field(default=0.2, ge=0)
    """The ratio is clipped above at 1 + clip_high."""
    kl: KlConfig = KlConfig()
    """Penalty towards the reference model."""
    correction: CorrectionConfig | None = None
    """Weight tokens by how far engine and learner differ under the same weights: kind tis, icepop or sequence_mask."""
    dynamic_sampling: DynamicSamplingConfig | None = None
    """Refill the batch with groups that have a signal; null trains on what the first prompts gave."""
    overlong: OverlongConfig | None = None
    """Penalise length near the limit; null leaves the reward alone."""
    distill: DistillConfig | None = None
    """Add the divergence from a teacher to the loss; with advantage none it is all of the loss."""
    minibatches: int = Field(default=1, ge=1)
    """Optimizer steps one rollout batch is cut into."""
    epochs: int = Field(default=1, ge=1)
    """Times a rollout batch is gone through."""
    zero_advantages: bool = False
    """Control experiment: train on advantages of zero, so nothing may improve."""

    @property
    def uses_old_logp(self) -> bool:
        """Whether the loss reads the learner's log-probabilities from the start of the batch."""
        return self.ratio == "old" or self.correction is not None

    @property
    def ratio_is_to_old(self) -> bool:
        """Whether the ratio is taken against those log-probabilities rather than the engine's."""
        return self.ratio == "old" or (self.ratio == "auto" and self.correction is not None)

    @property
    def needs_old_pass(self) -> bool:
        """Whether they cost a forward pass: in the only step of a batch they are the step's own."""
        return self.uses_old_logp and self.minibatches * self.epochs > 1

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
        kind = self.correction.kind if self.correction else None
        if self.ratio == "behaviour" and kind in ("tis", "icepop"):
            raise ValueError(
                f"ratio=behaviour holds the mismatch already that correction.kind={kind} weighs by, so it would count "
                "twice: set algorithm.ratio=old, or algorithm.correction=null"
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
