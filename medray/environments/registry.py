"""Environments by name."""

from __future__ import annotations

from typing import Any

from medray.config.environment import EnvironmentConfig
from medray.config.loader import validated
from medray.data.registry import resolve_name
from medray.environments.base import Environment
from medray.errors import ConfigError

ENVIRONMENTS: dict[str, str] = {
    "second_look": "medray.environments.second_look:SecondLook",
    "interview": "medray.environments.interview:Interview",
}
KEY = "rollout.environment"


def build_environment(config: EnvironmentConfig) -> Environment:
    """Make the environment that `config.kind` names, with `config.options`.

    Raises:
        ConfigError: unknown kind, or an unknown or bad option.
    """
    make: Any = resolve_name(config.kind, ENVIRONMENTS, key=f"{KEY}.kind")
    options = getattr(make, "Options", None)
    if options is not None:
        made = make(validated(options, config.options, within=f"{KEY}.options"))
    else:
        try:
            made = make(**config.options)
        except Exception as error:  # a user's class may raise anything
            raise ConfigError(f"{KEY}: {config.kind} could not be made: {error}") from error
    if not isinstance(made, Environment):
        raise ConfigError(
            f"{KEY}.kind={config.kind} has no reply: see medray.environments.base.Environment"
        )
    return made
