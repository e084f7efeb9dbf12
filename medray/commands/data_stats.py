"""`medray data stats`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from medray.commands.data_options import Kind, Paths, Settings, StageName, sound_rows

_INDENT = 2
_WIDTH = 34


def stats_command(
    paths: Paths = None,
    kind: Kind = "auto",
    stage: StageName = None,
    settings: Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count rows, turns, roles, lengths, languages, duplicates and sources; bad rows are counted and skipped."""
    from medray.data.inspecting.statistics import DatasetStatistics

    source, rows, dropped = sound_rows(paths, kind, settings, stage)
    statistics = DatasetStatistics()
    for row in rows:
        statistics.add(row.record)
    numbers = {
        "source": source.name,
        "rows": statistics.num_records + dropped.num_rows,
        "bad_rows": {reason: drop.count for reason, drop in dropped.by_reason().items()},
        **statistics.as_dict(),
        "sha256": dict(source.digests),
    }
    if as_json:
        typer.echo(json.dumps(numbers, indent=2, ensure_ascii=False))
        return
    for line in _lines(numbers):
        typer.echo(line)


def _lines(numbers: Mapping[str, Any], depth: int = 0) -> list[str]:
    lines: list[str] = []
    indent = " " * (_INDENT * depth)
    for name, value in numbers.items():
        shown = f"{indent}{name.replace('_', ' ') if depth == 0 else name}"
        if not isinstance(value, Mapping):
            lines.append(
                f"{shown:<{_WIDTH}} {value:,}"
                if isinstance(value, int)
                else f"{shown:<{_WIDTH}} {value}"
            )
        elif value and all(isinstance(number, float) for number in value.values()):
            parts = "  ".join(f"{key} {number:,g}" for key, number in value.items())
            lines.append(f"{shown:<{_WIDTH}} {parts}")
        else:
            lines.append(shown if value else f"{shown:<{_WIDTH}} none")
            lines += _lines(value, depth + 1)
    return lines
