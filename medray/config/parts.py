"""Exchangeable parts of a configuration: a registered name, or your own function or class as `package.module:name`.

`key: name` chooses a part, and `key: {kind: name, options: {...}}` gives it options. Each kind of part is a `Door`,
which stands in the annotation of its fields, so that all parts of a job can be found (`plugins_in`) and built before
anything starts. This module checks how a part is written; `medray.plugins` imports and builds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, Field

from medray.config.base import Section
from medray.config.names import nearest


class Part(Section):
    """A user-defined component, with its options."""

    kind: str
    """Your own function or class as `package.module:name`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function; settings of the class."""


@dataclass(frozen=True)
class Door:
    """Extension point: which names and `package.module:name` references a config key takes."""

    what: str
    """For error texts, with its article."""
    parameters: tuple[str, ...]
    """Positional arguments a part is called with."""
    names: tuple[str, ...] = ()
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Registered parts with options, positive numbers, and the names of these; all others take none."""
    """Registered parts."""
    hint: str = ""
    """What else to say of an unknown name."""

    def check(self, value: Any) -> Any:
        """The part as it is kept: a name, or a `Part` where there are options.

        Raises:
            ValueError: an unknown name, or options of a registered part.
        """
        if isinstance(value, Mapping):
            value = Part.model_validate(value)
        if isinstance(value, Part):
            self._check_name(value.kind)
            if value.kind in self.names:
                self._check_options(value)
            return value if value.options else value.kind
        if isinstance(value, str):
            self._check_name(value)
        return value

    def _check_options(self, part: Part) -> None:
        known = dict(self.options).get(part.kind, ())
        if part.options and not known:
            raise ValueError(f"{part.kind} takes no options")
        for name, number in part.options.items():
            if name not in known:
                raise ValueError(f"{name!r} is no option of {part.kind}: use {' or '.join(known)}")
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if not is_number or not 0 < number < math.inf:
                raise ValueError(f"{name}={number!r} of {part.kind} must be a number above 0")

    def _check_name(self, name: str) -> None:
        if name in self.names or is_own(name):
            return
        if self.names:
            raise ValueError(f"{name!r} is unknown{nearest(name, self.names)}")
        raise ValueError(
            f"{name!r} is unknown: write {self.what} of your own as package.module:name{self.hint}"
        )


LOSS = Door(
    "a token loss",
    ("logp", "anchor", "row", "config"),
    ("clipped", "gspo", "gmpo", "cispo", "sapo", "dppo_tv", "dppo_kl", "clip_cov", "kl_cov"),
    options=(
        ("sapo", ("tau_pos", "tau_neg")),
        ("clip_cov", ("share", "low", "high")),
        ("kl_cov", ("share", "coef")),
    ),
)
ADVANTAGE = Door(
    "an advantage estimator",
    ("rewards", "config"),
    hint=" (medray's come with algorithm.kind, none is kind=distill)",
)
CORRECTION = Door("a correction", ("old_logp", "behaviour_logp", "row"))
KL_ESTIMATOR = Door("a KL estimator", ("logp", "ref_logp"), ("k1", "k2", "k3"))
REWARD = Door("a reward function", ("response", "record"))
SCHEDULE = Door("a schedule", ("step", "num_steps"), ("constant", "linear", "cosine", "wsd"))


@dataclass(frozen=True)
class ByKind:
    """Marks a section whose class its `kind` names."""

    class_of: Callable[[Mapping[str, Any]], type[Section]]
    """The class for plain values; raises `ConfigError` for an unknown kind."""


LossName = Annotated[str | Part, BeforeValidator(LOSS.check), LOSS]
AdvantageName = Annotated[str | Part | None, BeforeValidator(ADVANTAGE.check), ADVANTAGE]
KlEstimatorName = Annotated[str | Part, BeforeValidator(KL_ESTIMATOR.check), KL_ESTIMATOR]
ScheduleName = Annotated[str | Part, BeforeValidator(SCHEDULE.check), SCHEDULE]


@dataclass(frozen=True)
class Plugin:
    """A part that is not medray's own, and where it was written."""

    key: str
    door: Door
    part: str | Part


def is_own(name: str) -> bool:
    """Whether a name is an import path (`package.module:name`) rather than a registered name."""
    return ":" in name


def plugins_in(config: BaseModel, within: str = "") -> Iterator[Plugin]:
    """Every part of `config`, at any depth, that names an import path."""
    for name, info in type(config).model_fields.items():
        key, value = f"{within}{name}", getattr(config, name)
        door = next((found for found in info.metadata if isinstance(found, Door)), None)
        if door is not None:
            several = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
            for part in several:
                if isinstance(part, str | Part) and is_own(kind_of(part)):
                    yield Plugin(key, door, part)
        elif isinstance(value, BaseModel):
            yield from plugins_in(value, f"{key}.")


def kind_of(part: str | Part) -> str:
    """The name of a part, with options or without."""
    return part if isinstance(part, str) else part.kind
