"""A dataset file by file, for those who check it: a damaged file does not hide the others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from medray.config.data import DataConfig
from medray.data.detection import Part, open_part
from medray.data.loading.mixture import open_source
from medray.data.loading.raw_rows import notes_of, open_raw_rows
from medray.data.registry import find_schema
from medray.data.schema import RowSchema


def parts_by_file(config: DataConfig) -> Iterator[tuple[str, Callable[[], Part]]]:
    """Each file of `config.path` by name, with what opens it.

    A kind that makes its rows, or reads whole files its own way, is one part.

    Raises:
        DataError: nothing is there to open. What is wrong with one file is raised when it is opened.
    """
    if config.kind == "auto" or isinstance(find_schema(config.kind), RowSchema):
        for raw in open_raw_rows(config):
            yield raw.name, functools.partial(open_part, raw, config, {})
    else:
        name = config.path or config.kind
        yield name, lambda: Part(config.kind, open_source(config))


def reading_notes(config: DataConfig) -> tuple[str, ...]:
    """What a person should know of how the files of `config.path` are read: encodings, files passed over."""
    if config.kind == "auto" or isinstance(find_schema(config.kind), RowSchema):
        return notes_of(config, open_raw_rows(config))
    return ()
