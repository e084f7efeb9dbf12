"""The base of every configuration schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_INT = 2**63 - 1
"""Largest whole number of any setting: what Ray, Arrow and torch can hold."""
MAX_FLOAT = 3e38
"""Largest number of any setting: float32, in which models compute, holds 3.4e38."""
MAX_S = 1e9
"""Longest wait in seconds: the system's own limit is 9.2e9."""


@dataclass(frozen=True)
class MayBeBlank:
    """Marks a text that may be all white space; with `empty`, no text at all."""

    empty: bool = False


Seconds = Annotated[float, Field(gt=0, le=MAX_S)]
"""How long something may take."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""A seed that NumPy takes, which vLLM seeds, too."""


class StrictModel(BaseModel):
    """A frozen record: unknown keys and bools given for numbers are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool_for_number(cls, value: Any, info: Any) -> Any:
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and bool not in _leaves(annotation):
            raise ValueError(
                "expected a number or text, got true/false (YAML reads on, off, yes and no as booleans)"
            )
        return value


class Section(StrictModel):
    """A block of settings, which refuses what no setting can mean.

    That is what a `StrictModel` refuses, a number that is infinite, NaN or too large, an empty text or one of white
    space only (see `MayBeBlank`), a NUL character, and a text that is listed twice.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_empty_texts_and_repeats(cls, value: Any, info: Any) -> Any:
        metadata = cls.model_fields[info.field_name].metadata
        blank = next((mark for mark in metadata if isinstance(mark, MayBeBlank)), None)
        texts = [item for item in _items(value) if isinstance(item, str)]
        for text in texts:
            _refuse_text(text, blank)
            if texts.count(text) > 1:
                raise ValueError(f"{text!r} is listed twice: name it once")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _refuse_large_numbers(cls, value: Any) -> Any:
        """Runs after, since YAML reads 1e300 as a text."""
        for item in _items(value):
            limit = MAX_INT if isinstance(item, int) else MAX_FLOAT
            if isinstance(item, int | float) and abs(item) > limit:
                raise ValueError(f"{item} is too large: at most {limit:g}")
        return value


def _items(value: Any) -> list[Any]:
    """The value, or the values that a list holds."""
    return list(cast("list[Any]", value)) if isinstance(value, list | tuple) else [value]


def _refuse_text(text: str, blank: MayBeBlank | None) -> None:
    if "\0" in text:
        raise ValueError("a text cannot hold a NUL character")
    if not text.strip() and (blank is None or not (text or blank.empty)):
        raise ValueError(f"{text!r} is an empty text: write a value, or leave the key out")


def _leaves(annotation: Any) -> set[Any]:
    args: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return {leaf for a in args for leaf in _leaves(a)} if args else {annotation}
