"""Names to objects: registered short names, and your own as `package.module:name`.

Rewards, datasets, environments, losses and every other door for extensions go through `resolve_name` and `make_named`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from medray.config.loader import validated
from medray.errors import ConfigError


def resolve_name(
    name: str, registered: Mapping[str, str], *, key: str, known: str | None = None
) -> Any:
    """Import what `name` stands for: an entry of `registered`, or itself a `package.module:name`.

    Args:
        name: what the user wrote.
        registered: short name -> `package.module:name`, imported only when asked for.
        key: the configuration key that held it, for the error text.
        known: what to say of the registered names in place of all of them.

    Raises:
        ConfigError: the name is unknown or its module or attribute cannot be imported.
    """
    path = registered.get(name, name)
    module_name, colon, attribute = path.partition(":")
    if not colon:
        raise ConfigError(f"{key}={name} is unknown{_nearest(name, registered, known)}")
    if not module_name or not attribute or module_name.startswith("."):
        raise ConfigError(f"{key}={name} is not of the form package.module:name")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise ConfigError(
            f"{key}={name}: importing {module_name} failed with {type(error).__name__}: {error}"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{key}={name}: {module_name} has no {attribute}")
        found = getattr(found, part)
    return found


def make_named(
    kind: str, options: Mapping[str, Any], registered: Mapping[str, str], *, key: str
) -> Any:
    """Make an object of the class that `kind` names, from options that its `Options` model checks where it has one.

    Args:
        kind: as `resolve_name` takes it.
        options: what the user wrote; keyword arguments of a class without `Options`.
        registered: as `resolve_name` takes it.
        key: the configuration key that holds `kind` and `options`.

    Raises:
        ConfigError: unknown kind, or an unknown or bad option.
    """
    make: Any = resolve_name(kind, registered, key=f"{key}.kind")
    if not callable(make):
        raise ConfigError(f"{key}.kind={kind} is not a class")
    if (model := getattr(make, "Options", None)) is not None:
        return make(validated(model, options, within=f"{key}.options"))
    try:
        return make(**options)
    except Exception as error:  # a user's class may raise anything
        raise ConfigError(f"{key}: {kind} could not be made: {error}") from error


def _nearest(name: str, registered: Mapping[str, str], known: str | None) -> str:
    guess = difflib.get_close_matches(name, registered, n=1, cutoff=0.5)
    shown = known or f"one of {', '.join(registered)}"
    names = f"{shown}, or your own as package.module:name"
    return f": did you mean {guess[0]}? ({names})" if guess else f": use {names}"
