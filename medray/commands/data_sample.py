"""`medray data sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.commands.data_options import Kind, Paths, Settings, StageName, sound_rows


def sample_command(
    paths: Paths = None,
    num_rows: Annotated[int, typer.Option("--num-rows", "-n", min=1, help="Number of rows.")] = 10,
    seed: Annotated[int, typer.Option(help="Random seed for the choice of rows.")] = 17,
    out: Annotated[
        Path | None, typer.Option(help="File to write: .jsonl, .jsonl.gz or .parquet.")
    ] = None,
    kind: Kind = "auto",
    stage: StageName = None,
    settings: Settings = None,
) -> None:
    """Show random rows in medray's format, or write them to a file; bad rows are counted and skipped."""
    import json

    from medray.data.inspecting.sampling import Reservoir
    from medray.data.schemas.canonical import record_to_row
    from medray.data.writing import open_writer, require_suffix
    from medray.storage.writable import require_writable
    from medray.types import Record

    if out is not None:
        require_suffix(out)
        require_writable(out, "--out")
    sound = sound_rows(paths, kind, settings, stage)
    drawn = Reservoir[Record](num_rows, seed)
    for row in sound.rows:
        drawn.add(row.record)
    if out is None:
        for record in drawn.items():
            typer.echo(json.dumps(record_to_row(record), ensure_ascii=False))
    else:
        with open_writer(out) as writer:
            for record in drawn.items():
                writer.write(record)
        typer.echo(f"{out}: {len(drawn.items())} rows of {sound.source.name}")
    sound.tell_left_out()
