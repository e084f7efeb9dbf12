"""Which rows are left out before any of them is tokenised: by language, length, or a function of the user's."""

from __future__ import annotations

import functools
from collections.abc import Callable

from medray.config.names import resolve_name
from medray.config.prepare import FilterConfig
from medray.data.parsing.language import guess_language
from medray.data.parsing.text import all_text
from medray.data.source import RowError
from medray.errors import ConfigError, DataError
from medray.types import Record

Screen = Callable[[Record], None]
"""Raises `RowError` for a record that is left out."""


def build_screens(filters: FilterConfig, decontaminate: str | None) -> list[Screen]:
    """The screens that a job asks for, cheap ones first.

    Raises:
        ConfigError: `decontaminate` names nothing, or something that cannot be called.
    """
    screens: list[Screen] = []
    if filters.min_characters or filters.max_characters is not None:
        screens.append(functools.partial(require_length, filters=filters))
    if filters.languages:
        screens.append(functools.partial(require_language, languages=filters.languages))
    if decontaminate is not None:
        check = resolve_name(
            decontaminate, {}, key="decontaminate", known="your own function of a Record"
        )
        if not callable(check):
            raise ConfigError(f"decontaminate={decontaminate} is not a function of a Record")
        screens.append(functools.partial(require_clean, check=check, name=decontaminate))
    return screens


def require_length(record: Record, filters: FilterConfig) -> None:
    """Refuse a text that is too short or too long."""
    size = len(all_text(record))
    if size < filters.min_characters:
        raise RowError("too few characters", f"{size}, min_characters={filters.min_characters}")
    if filters.max_characters is not None and size > filters.max_characters:
        raise RowError("too many characters", f"{size}, max_characters={filters.max_characters}")


def require_language(record: Record, languages: tuple[str, ...]) -> None:
    """Refuse a text that is mostly written in another language."""
    found = guess_language(all_text(record))
    if found not in languages:
        raise RowError(f"language {found}", f"filters.languages={', '.join(languages)}")


def require_clean(record: Record, check: Callable[[Record], object], name: str) -> None:
    """Refuse a record about which the user's function has something to say."""
    found = check(record)
    if found is None:
        return
    if not isinstance(found, str) or not found:
        raise DataError(
            f"decontaminate={name} returned {found!r} for {record.id}: return None to keep a record, or the "
            "reason to drop it"
        )
    raise RowError(found, f"decontaminate={name}")
