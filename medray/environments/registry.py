"""Environments by name."""

from __future__ import annotations

from medray.config.environment import EnvironmentConfig
from medray.environments.base import Environment
from medray.errors import ConfigError
from medray.plugins import make_named

ENVIRONMENTS: dict[str, str] = {
    "self_check": "medray.environments.self_check:SelfCheck",
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
