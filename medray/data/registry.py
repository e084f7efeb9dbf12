"""Dataset schemas by name, and the one way a name or a dotted path becomes an object.

Add a schema: one file under `medray/data/schemas/`, one line in `SCHEMAS`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, cast

from medray.data.source import Schema
from medray.errors import ConfigError

SCHEMAS: dict[str, str] = {
    "icd10": "medray.data.schemas.icd10:read_icd10",
    "pubmedqa": "medray.data.schemas.pubmedqa:read_pubmedqa",
    "qa": "medray.data.schemas.qa:read_qa",
    "choice": "medray.data.schemas.choice:read_choice",
    "choice-shuffled": "medray.data.schemas.choice:read_choice_shuffled",
}


def find_schema(kind: str) -> Schema:
    """The schema registered as `kind`, or found at `package.module:name`.

    Raises:
        ConfigError: nothing of that name; the text holds the nearest registered one.
    """
    schema: Any = resolve_name(kind, SCHEMAS, key="data.kind")
    if callable(schema):
        return cast(Schema, schema)
    raise ConfigError(f"data.kind={kind} is not callable: a schema is a function of DataConfig")


def resolve_name(name: str, registered: Mapping[str, str], *, key: str) -> Any:
    """Import what `name` stands for: an entry of `registered`, or itself a `package.module:name`.

    Args:
        name: what the user wrote.
        registered: short name -> `package.module:name`, imported only when asked for.
        key: the configuration key that held it, for the error text.

    Raises:
        ConfigError: the name is unknown or its module or attribute cannot be imported.
    """
    path = registered.get(name, name)
    module_name, colon, attribute = path.partition(":")
    if not colon:
        raise ConfigError(f"{key}={name} is unknown{_nearest(name, registered)}")
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


def _nearest(name: str, registered: Mapping[str, str]) -> str:
    guess = difflib.get_close_matches(name, registered, n=1, cutoff=0.5)
    known = f"one of {', '.join(registered)}, or your own as package.module:name"
    return f": did you mean {guess[0]}? ({known})" if guess else f": use {known}"
