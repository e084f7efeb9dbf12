"""Engines by name: the only way from the rest of medray to an inference library."""

from __future__ import annotations

from medray.config.rollout import EngineConfig
from medray.engines.kind import EngineKind
from medray.errors import ConfigError
from medray.plugins import make_named

ENGINES: dict[str, str] = {"vllm": "medray.engines.vllm.kind:Vllm"}


def engine_kind(config: EngineConfig, *needs: str, key: str = "rollout.engine") -> EngineKind:
    """Make the library that `config.kind` names, with `config.options`; loads no model.

    Args:
        config: kind (registered, or your own class as `package.module:name`) and options.
        needs: methods that it has to have: rollout, batch, teacher, sender.
        key: the configuration key that holds `config`.

    Raises:
        ConfigError: unknown kind or option, not an `EngineKind`, or one without what is needed.
    """
    kind = make_named(config.kind, config.options, ENGINES, key=key)
    if not isinstance(kind, EngineKind):
        raise ConfigError(
            f"{key}.kind={config.kind} is not an engine: derive the class from medray.engines.kind.EngineKind"
        )
    for need in needs:
        if not kind.can(need):
            raise ConfigError(f"{key}.kind={config.kind} lacks {need}(), which this job needs")
    return kind
