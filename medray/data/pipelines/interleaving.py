"""Several sources as one stream in which each is spread from the beginning to the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from medray.config.data import DataConfig, FileConfig
from medray.data.files.find import find_files
from medray.data.loading.raw_rows import is_hub_id
from medray.data.parsing.text import num_characters
from medray.data.source import BadRow, Row

_UNPACKED = {".gz": 4.0, ".parquet": 3.0}
"""About how much text is in a packed byte."""
_GENERATED_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Expected:
    """About how large a source is; 0 characters means that it comes before all others."""

    characters: float
    max_rows: int | None = None


def expected_sizes(config: DataConfig) -> dict[str, Expected]:
    """What is known of each part of the dataset before it is read, by the names of `open_sources`."""
    if not config.sources:
        return {}
    sizes = {str(i): _characters(source, config) for i, source in enumerate(config.sources)}
    known = [size for size in sizes.values() if size is not None]
    middle = sorted(known)[len(known) // 2] if known else 1.0
    return {
        str(i): Expected(sizes[str(i)] or middle, source.max_rows)
        for i, source in enumerate(config.sources)
    }


def interleave(
    parts: Mapping[str, Iterable[Row | BadRow]], expected: Mapping[str, Expected]
) -> Iterator[tuple[str, Row | BadRow]]:
    """The rows of all parts, the next one always from the part of which the smallest share has been read.

    The order depends on the rows and the sizes of files alone. Parts that `expected` does not name come first, whole.
    """
    for name, rows in parts.items():
        if name not in expected:
            yield from ((name, row) for row in rows)
    left = {name: iter(rows) for name, rows in parts.items() if name in expected}
    progress = dict.fromkeys(left, 0.0)
    read = {name: [0, 0] for name in left}  # characters, good rows
    while left:
        name = min(left, key=progress.__getitem__)
        row = next(left[name], None)
        if row is None:
            del left[name]
            continue
        yield name, row
        if isinstance(row, Row):
            count = read[name]
            count[0] += num_characters(row.record)
            count[1] += 1
            size = expected[name]
            progress[name] = max(
                count[0] / size.characters, count[1] / size.max_rows if size.max_rows else 0.0
            )


def _characters(source: FileConfig, config: DataConfig) -> float | None:
    """About how many characters a source has; None where it does not say beforehand."""
    if source.is_generated:
        return float(_GENERATED_CHARACTERS * ((config.num_train or 4096) + config.num_eval))
    if is_hub_id(source.path):
        return None
    files = find_files(source)
    return sum(f.path.stat().st_size * _UNPACKED.get(f.path.suffix, 1.0) for f in files) or None
