"""How often each source of a mixture comes in an epoch: passes, a temperature, or shares of the tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from medray.config.data import DataConfig
from medray.data.source import Row
from medray.types import Record

Passes = Callable[[Row], float]


def passes_of(rows: Sequence[Row], config: DataConfig) -> tuple[Passes, tuple[str, ...]]:
    """How often an epoch takes a training row, and what to tell of it.

    Args:
        rows: all rows to train on.
        config: `mixing` says what the weights of sources mean.

    Returns:
        The passes of a row, which may be fractions; notes for people.
    """
    if config.mixing == "passes" or len(config.sources) < 2:
        return lambda row: row.weight, ()
    sizes: dict[str, float] = defaultdict(float)
    weights: dict[str, float] = {}
    for row in rows:
        name = _source(row)
        weights[name] = row.weight
        sizes[name] += 1 if config.mixing == "temperature" else num_bytes(row.record)
    wanted = weights
    if config.mixing == "temperature":
        power = 1 / config.mixing_temperature
        wanted = {name: weights[name] * sizes[name] ** power for name in sizes}
    found = shares(sizes, wanted)
    unit = "rows" if config.mixing == "temperature" else "tokens"
    total = sum(found[name] * sizes[name] for name in sizes) or 1.0
    listed = ", ".join(
        f"source {name} {found[name]:.3g} times ({found[name] * sizes[name] / total:.1%} of the {unit})"
        for name in sorted(found)
    )
    return lambda row: found[_source(row)], (f"mixing={config.mixing}: {listed}",)


def shares(sizes: Mapping[str, float], wanted: Mapping[str, float]) -> dict[str, float]:
    """Passes by source that give each its share of an epoch that is as large as all sources together.

    Args:
        sizes: rows or tokens of each source.
        wanted: in proportion to the shares.
    """
    total, parts = sum(sizes.values()), sum(wanted[name] for name in sizes)
    return {
        name: wanted[name] / parts * total / size if size else 1.0 for name, size in sizes.items()
    }


def num_bytes(record: Record) -> int:
    """The size of a text in UTF-8, in proportion to its tokens: about 4 bytes each (English), 3 (Chinese)."""
    texts = (record.text, *(m["content"] for m in record.turns))
    return max(1, sum(len(text.encode()) for text in texts))


def _source(row: Row) -> str:
    return row.record.id.partition("/")[0]
