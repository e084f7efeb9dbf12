"""The dotted keys of a schema."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def known_keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of `schema`, sections before what is in them, e.g. `optim`, `optim.lr`."""
    keys: list[str] = []
    for name, info in schema.model_fields.items():
        keys.append(prefix + name)
        for nested in _schemas(info.annotation):
            keys += known_keys(nested, f"{prefix}{name}.")
    return keys


def _schemas(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [s for a in _arguments(annotation) for s in _schemas(a)]


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", ())
