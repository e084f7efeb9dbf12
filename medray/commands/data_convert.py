"""`medray data convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.commands.data_options import Kind, Paths, Settings, StageName, data_config, stage_of


def convert_command(
    out: Annotated[Path, typer.Option(help="File to write: .jsonl, .jsonl.gz or .parquet.")],
    paths: Paths = None,
    kind: Kind = "auto",
    stage: StageName = None,
    settings: Settings = None,
) -> None:
    """Convert a dataset to medray's row format, in reading order; mixture weights do not apply.

    A bad row is an error; with --set on_bad_row=skip, bad rows are skipped and counted.
    """
    from medray.data.loading.mixture import open_source
    from medray.data.loading.report import DropCounter
    from medray.data.loading.rows import checked_rows
    from medray.data.writing import open_writer, require_suffix
    from medray.storage.writable import require_writable

    require_suffix(out)
    require_writable(out, "--out")
    config = data_config(paths, kind, settings)
    source = open_source(config)
    dropped = DropCounter()
    num_written = 0
    with open_writer(out) as writer:
        for row in checked_rows(source.rows, config, dropped, stage_of(stage)):
            writer.write(row.record)
            num_written += 1
    typer.echo(f"{out}: {num_written} rows of {source.name}")
    for reason, drop in dropped.by_reason().items():
        typer.echo(f"skipped {drop.count} ({reason}, e.g. {drop.examples[0]})")
