"""The base of every configuration schema."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


class Section(BaseModel):
    """A frozen, strict block of settings: unknown keys and bools given for numbers are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool_for_number(cls, value: Any, info: Any) -> Any:
        if isinstance(value, bool):
            annotation = cls.model_fields[info.field_name].annotation
            if bool not in _leaves(annotation):
                raise ValueError(
                    "expected a number or text, got true/false (YAML reads on, off, yes and no as booleans)"
                )
        return value


def _leaves(annotation: Any) -> set[Any]:
    args: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return {leaf for a in args for leaf in _leaves(a)} if args else {annotation}
