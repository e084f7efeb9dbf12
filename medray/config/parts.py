"""Exchangeable parts of a configuration: a registered name, or your own function or class as `package.module:name`.

`key: name` chooses a part, and `key: {kind: name, options: {...}}` gives it options. Each kind of part is a `Door`,
which stands in the annotation of its fields, so that all parts of a job can be found (`plugins_in`) and built before
anything starts. This module checks how a part is written; `medray.plugins` imports and builds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

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
    """Registered parts; they take no options."""
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
            if value.kind in self.names and value.options:
                raise ValueError(f"{value.kind} takes no options")
            return value if value.options else value.kind
        if isinstance(value, str):
            self._check_name(value)
        return value

    def _check_name(self, name: str) -> None:
        if name in self.names or is_own(name):
            return
        if self.names:
            raise ValueError(f"{name!r} is unknown{nearest(name, self.names)}")
        raise ValueError(
            f"{name!r} is unknown: write {self.what} of your own as package.module:name{self.hint}"
        )


LOSS = Door("a token loss", ("logp", "anchor", "row", "config"), ("clipped", "gspo", "cispo"))
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
            if isinstance(value, str | Part) and is_own(kind_of(value)):
                yield Plugin(key, door, value)
        elif isinstance(value, BaseModel):
            yield from plugins_in(value, f"{key}.")


def kind_of(part: str | Part) -> str:
    """The name of a part, with options or without."""
    return part if isinstance(part, str) else part.kind
