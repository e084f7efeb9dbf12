"""Environments by name."""

from __future__ import annotations

from medray.config.environment import EnvironmentConfig
from medray.data.registry import make_named
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
    made = make_named(config.kind, config.options, ENVIRONMENTS, key=KEY)
    if not isinstance(made, Environment):
        raise ConfigError(
            f"{KEY}.kind={config.kind} has no reply: see medray.environments.base.Environment"
        )
    return made
