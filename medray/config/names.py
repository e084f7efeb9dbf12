"""Names to objects: registered short names, and your own as `package.module:name`."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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
        raise ConfigError(f"{key}={name} is unknown{nearest(name, registered, known)}")
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


def nearest(name: str, registered: Iterable[str], known: str | None = None) -> str:
    """The end of an error text for an unknown name: the nearest registered one, and what else may be written."""
    names = tuple(registered)
    guess = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    shown = known or f"one of {', '.join(names)}"
    choice = f"{shown}, or your own as package.module:name"
    return f": did you mean {guess[0]}? ({choice})" if guess else f": use {choice}"


def make_importable(folder: Path) -> None:
    """Let modules of `folder`, usually the one that a command runs in, be named in a configuration.

    It comes last, so that nothing in it hides a module that is installed. Ray's workers import from the driver's
    working directory by themselves.
    """
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
