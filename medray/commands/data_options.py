"""Arguments that the `medray data` commands share, and the settings they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from medray.errors import ConfigError

if TYPE_CHECKING:
    from medray.config.data import DataConfig
    from medray.data.loading.report import DropCounter
    from medray.data.loading.stages import Stage
    from medray.data.source import Row, Source

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH...", help="Files, folders, quoted patterns, or dataset ids on the model hub."
    ),
]
Kind = Annotated[
    str, typer.Option(help="Schema, from `medray data list`; auto detects it from the rows.")
]
StageName = Annotated[
    str | None,
    typer.Option(
        "--stage", help="Stage that the rows should train: pt, sft, preference, kto, process or rl."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Setting of the data section (repeatable)."),
]


def stage_of(name: str | None) -> Stage | None:
    """The stage called `name`; None for none.

    Raises:
        ConfigError: there is no such stage.
    """
    from medray.data.loading.stages import STAGES

    if name is not None and name not in STAGES:
        raise ConfigError(f"--stage {name}: use one of {', '.join(STAGES)}")
    return cast("Stage | None", name)


def data_config(paths: list[str] | None, kind: str, settings: list[str] | None) -> DataConfig:
    """The data section for these arguments; several paths are sources of one mixture.

    Raises:
        ConfigError: a setting is wrong, or no path is given for a kind that reads one.
    """
    from medray.config.data import GENERATED_KINDS, DataConfig
    from medray.config.loader import load_config

    overrides = list(settings or ())
    paths = paths or []
    if not paths and kind not in GENERATED_KINDS:
        made = ", ".join(GENERATED_KINDS)
        raise ConfigError(
            f"pass a file, a folder or a dataset id, or a --kind that reads none: {made}"
        )
    if len(paths) == 1:
        given = [f"path={_quoted(paths[0])}", f"kind={_quoted(kind)}"]
    elif paths:
        listed = ", ".join(f"{{path: {_quoted(path)}, kind: {_quoted(kind)}}}" for path in paths)
        given = [f"sources=[{listed}]"]
    else:
        given = [f"kind={kind}"]
    return load_config(DataConfig, None, [*given, *overrides])


class SoundRows(NamedTuple):
    """The rows of a dataset that can be read, for commands that look at data and never stop at a bad row."""

    source: Source
    rows: Iterator[Row]
    dropped: DropCounter
    """Filled while `rows` are read."""

    def tell_left_out(self, prefix: str = "") -> None:
        """Print to stderr how many rows were left out, and why, with the place of one."""
        for reason, drop in self.dropped.by_reason().items():
            typer.echo(
                f"{prefix}skipped {drop.count} ({reason}, e.g. {drop.examples[0]})", err=True
            )


def sound_rows(
    paths: list[str] | None, kind: str, settings: list[str] | None, stage: str | None
) -> SoundRows:
    """Open what the arguments name.

    Raises:
        ConfigError: an argument is wrong.
        DataError: the dataset cannot be opened.
    """
    from medray.data.loading.mixture import open_source
    from medray.data.loading.report import DropCounter
    from medray.data.loading.rows import checked_rows

    config = data_config(paths, kind, [*(settings or ()), "on_bad_row=skip"])
    source, dropped = open_source(config), DropCounter()
    return SoundRows(source, checked_rows(source.rows, config, dropped, stage_of(stage)), dropped)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"  # as YAML has it
