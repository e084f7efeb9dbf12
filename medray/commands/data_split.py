"""`medray data split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.commands.data_options import Kind, Paths, Settings, StageName, data_config, stage_of
from medray.errors import ConfigError


def split_command(
    out: Annotated[Path, typer.Option(help="Output folder for train, held_out and split.json.")],
    paths: Paths = None,
    num_eval: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of held-out rows; groups stay whole, so there may be a few more."
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(min=0.0, max=0.99, help="Share of groups to hold out, instead of --num-eval."),
    ] = None,
    kind: Kind = "auto",
    stage: StageName = None,
    file_format: Annotated[
        str, typer.Option("--format", help="Output format: jsonl, jsonl.gz or parquet.")
    ] = "jsonl",
    settings: Settings = None,
) -> None:
    """Split a dataset so that no group (--set group_key=...) is on both sides; --set seed=... gives another split.

    Without a group key, rows with the same content form a group. An official split of the dataset is kept.
    """
    from medray.data.inspecting.partition import write_split
    from medray.data.writing import SUFFIXES
    from medray.storage.writable import require_writable

    if (num_eval is None) == (fraction is None):
        raise ConfigError("pass either --num-eval or --fraction to say how much to hold out")
    if f".{file_format}" not in SUFFIXES:
        raise ConfigError(
            f"--format {file_format}: use one of {', '.join(s[1:] for s in SUFFIXES)}"
        )
    require_writable(out, "--out")
    config = data_config(paths, kind, settings)
    split = write_split(
        config, out, file_format, stage=stage_of(stage), num_eval=num_eval, fraction=fraction
    )
    for line in split.lines():
        typer.echo(line)
