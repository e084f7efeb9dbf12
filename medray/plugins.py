"""Objects from names: registered ones, and your own as `package.module:name`.

Rewards, datasets and environments are made by `make_named`; token losses, advantages, corrections, KL estimators and
schedules by `make_part`. What each is called with: `medray/config/parts.py`.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from medray.config.loader import validated
from medray.config.names import resolve_name
from medray.config.parts import Door, Part, kind_of
from medray.errors import ConfigError

F = TypeVar("F")

_MADE: dict[tuple[str, str, Door, str], Any] = {}
"""Own parts by kind, options, door and key: losses are asked for in every row, schedules in every step."""


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
    _require_options(make, options, f"{key}.options", kind)
    try:
        return make(**options)
    except Exception as error:  # a user's class may raise anything
        raise ConfigError(f"{key}: {kind} cannot be created: {error}") from error


def _require_options(
    make: Any, options: Mapping[str, Any], key: str, kind: str, *, num_given: int = 0
) -> None:
    """Refuse an option that is no keyword argument of `make` after the first `num_given`, naming those that are."""
    try:
        parameters = [*inspect.signature(make).parameters.values()][num_given:]
    except (TypeError, ValueError):  # built in C, without a signature
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for name in options:
        if name not in known:
            guess = difflib.get_close_matches(name, known, n=1)
            near = f"did you mean {guess[0]}? " if guess else ""
            said = f"one of {', '.join(known)}" if known else "it takes none"
            raise ConfigError(f"{key}.{name} is not an option of {kind}: {near}({said})")


def make_part(part: str | Part, door: Door, key: str, registered: Mapping[str, F]) -> F:
    """The function that a part of a configuration stands for.

    Your own is a function, whose keyword arguments are the part's options, or a class, whose objects are called. It is
    made once per process, so that asking again costs nothing.

    Args:
        part: as the configuration holds it.
        door: what kind of part it is.
        key: the configuration key that holds it, for error texts.
        registered: medray's own, by name.

    Raises:
        ConfigError: it cannot be imported or made, or cannot be called with the arguments of its kind.
    """
    kind = kind_of(part)
    options = part.options if isinstance(part, Part) else {}
    if kind in registered:
        chosen = registered[kind]
        return cast(F, functools.partial(cast(Any, chosen), **options)) if options else chosen
    wanted = (kind, repr(options), door, key)
    if wanted not in _MADE:
        _MADE[wanted] = _make_own(kind, options, door, key)
    return cast(F, _MADE[wanted])


def _make_own(kind: str, options: Mapping[str, Any], door: Door, key: str) -> Callable[..., Any]:
    found: Any = resolve_name(kind, {}, key=key)
    if isinstance(found, type):
        made = make_named(kind, options, {}, key=key)
        options = {}
    else:
        made = found
    if not callable(made):
        raise ConfigError(
            f"{key}={kind} is not callable: write a function, or a class with __call__"
        )
    return bind_options(made, door, options, key, kind)


def bind_options(
    function: Callable[..., Any], door: Door, options: Mapping[str, Any], key: str, kind: str
) -> Callable[..., Any]:
    """Return a function with its options as keyword arguments.

    Raises:
        ConfigError: it cannot be called with the arguments of its kind, or has no such option; the text begins with
            `key`.
    """
    _require_options(function, options, f"{key}.options", kind, num_given=len(door.parameters))
    _require_signature(function, door, options, f"{key}={kind}")
    return functools.partial(function, **options) if options else function


def _require_signature(
    made: Callable[..., Any], door: Door, options: Mapping[str, Any], name: str
) -> None:
    try:
        signature = inspect.signature(made)
    except (TypeError, ValueError):  # built in C, without a signature
        return
    try:
        signature.bind(*door.parameters, **options)
    except TypeError as error:
        expected = ", ".join([*door.parameters, *(f"{option}=..." for option in options)])
        raise ConfigError(
            f"{name} does not fit ({error}): {door.what} is called as ({expected})"
        ) from None
