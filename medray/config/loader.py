"""YAML plus dotted `key=value` overrides, checked against a schema; errors are one line each."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from medray.config.keys import known_keys
from medray.config.parts import ByKind
from medray.config.renamed import with_present_names
from medray.errors import ConfigError

S = TypeVar("S", bound=BaseModel)


def load_config(
    schema: type[S],
    path: str | Path | None = None,
    overrides: Iterable[str] = (),
    *,
    base: Mapping[str, Any] | None = None,
) -> S:
    """Read `path` (YAML), apply overrides such as `optim.lr=1e-5`, and validate.

    `base` holds settings that were read already; there is no `path` then.

    Raises:
        ConfigError: the file, a key or a value is wrong; one line per problem, with the nearest known key.
    """
    settings: dict[str, Any] = copy.deepcopy(dict(base or {}))
    if path is not None:
        settings = read_yaml(Path(path))
    for override in overrides:
        _apply(settings, override)
    return validated(schema, settings)


def validated(schema: type[S], settings: Mapping[str, Any], *, within: str = "") -> S:
    """Check plain values against `schema`; `within` is the key that held them, for the error texts.

    Raises:
        ConfigError: one line per problem, with the nearest known key.
    """
    renaming = with_present_names(schema, settings)
    problems = list(renaming.problems)
    try:
        config = schema.model_validate(renaming.settings)
    except ValidationError as error:
        problems += [_explain(schema, renaming.settings, dict(e), within) for e in error.errors()]
    else:
        if not problems:
            return config
    raise ConfigError("\n".join(problems))


def dump_config(config: BaseModel) -> str:
    """The resolved configuration as JSON; `schema.model_validate_json` reads it back unchanged."""
    return json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        ConfigError: the file is missing, damaged, or no mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file {path} does not exist") from None
    except IsADirectoryError:
        raise ConfigError(f"config file {path} is a folder: pass a YAML file in it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        raise ConfigError(
            f"{path}{line}: not valid YAML ({getattr(error, 'problem', None) or error})"
        ) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{path}: the top level must be a mapping of keys to values, not a {type(loaded).__name__}"
        )
    return cast(dict[str, Any], loaded)


def _apply(settings: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r} is not of the form key=value, e.g. optim.lr=1e-5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"override {override!r}: the value is not valid YAML") from None
    *parents, leaf = key.split(".")
    node: Any = settings
    for name in parents:
        if isinstance(node, list):
            node = _item(cast(list[Any], node), name, override)
        else:
            if not isinstance(node.get(name), dict | list):
                node[name] = {}
            node = node[name]
    if isinstance(node, list):
        _item(cast(list[Any], node), leaf, override)
        node[int(leaf)] = value
    else:
        node[leaf] = value


def _item(node: list[Any], name: str, override: str) -> Any:
    if not name.isdigit() or int(name) >= len(node):
        raise ConfigError(
            f"override {override!r}: {name!r} is not an index of a list of {len(node)}"
        )
    return node[int(name)]


def _explain(
    schema: type[BaseModel], settings: Mapping[str, Any], error: dict[str, Any], within: str
) -> str:
    location = tuple(error["loc"])
    inner = ".".join(str(part) for part in location)
    key = ".".join(part for part in (within, inner) if part)
    if error["type"] == "extra_forbidden":
        known = [*known_keys(schema), *_keys_of_own_kinds(schema, settings)]
        if inner in known:  # of another kind of the same section
            section = key.rpartition(".")[0]
            return f"unknown key {key}: the {section}.kind that is chosen has no such key"
        guess = difflib.get_close_matches(inner, known, n=1, cutoff=0.5) or _by_leaf(
            str(location[-1]), known
        )
        if guess:
            return f"unknown key {key}: did you mean {guess[0]}?"
        return f"unknown key {key}" + (f": known are {', '.join(known)}" if within else "")
    message = error["msg"].removeprefix("Value error, ")
    shown = error.get("input")
    given = (
        f" (got {shown!r})"
        if isinstance(shown, str | int | float) and error["type"] != "value_error"
        else ""
    )
    return f"{key}: {message}{given}" if key else message


def _by_leaf(leaf: str, known: list[str]) -> list[str]:
    leaves: Mapping[str, str] = {k.rsplit(".", 1)[-1]: k for k in reversed(known)}
    return [leaves[m] for m in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)]


def _keys_of_own_kinds(schema: type[BaseModel], settings: Mapping[str, Any]) -> list[str]:
    """Keys of sections whose class is the user's own, which no annotation knows."""
    keys: list[str] = []
    for name, info in schema.model_fields.items():
        given = settings.get(name)
        for mark in info.metadata:
            if isinstance(mark, ByKind) and isinstance(given, Mapping):
                chosen = mark.class_of(cast(Mapping[str, Any], given))
                keys += known_keys(chosen, f"{name}.")
    return keys
