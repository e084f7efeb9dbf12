"""Texts of a dataset for those who count words in them."""

from __future__ import annotations

from collections.abc import Iterator

from medray.config.data import DataConfig
from medray.data.loading.mixture import open_source
from medray.data.loading.report import DropCounter
from medray.data.loading.rows import checked_rows
from medray.data.parsing.text import all_text
from medray.errors import DataError


def corpus_lines(config: DataConfig, max_characters: int | None = None) -> Iterator[str]:
    """Every line of everything that is said in a dataset, in the order read.

    Args:
        config: what to read; held-out rows are read too.
        max_characters: stop after so many; None reads all.

    Raises:
        DataError: a row is bad, or there is no text.
    """
    source = open_source(config)
    left = max_characters
    is_empty = True
    for row in checked_rows(source.rows, config, DropCounter(), None):
        for line in all_text(row.record).splitlines():
            if not line.strip():
                continue
            if left is not None:
                if left <= 0:
                    return
                left -= len(line)
            is_empty = False
            yield line
    if is_empty:
        raise DataError(f"{source.name}: it contains no text: use other data")
