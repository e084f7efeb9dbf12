"""Arguments that the `medray data` commands share, and the settings they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from medray.errors import ConfigError

if TYPE_CHECKING:
    from medray.config.data import DataConfig
    from medray.data.loading.stages import Stage

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH...", help="Files, folders, quoted patterns, or dataset ids on the model hub."
    ),
]
Kind = Annotated[str, typer.Option(help="Schema, from medray data list; auto looks at the rows.")]
StageName = Annotated[
    str | None,
    typer.Option("--stage", help="pt, sft, preference, kto or rl: what the rows are to train."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Setting of the data section; may be repeated."
    ),
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
            f"name a file, a folder or a dataset id, or a --kind that reads none: {made}"
        )
    if len(paths) == 1:
        given = [f"path={_quoted(paths[0])}", f"kind={_quoted(kind)}"]
    elif paths:
        listed = ", ".join(f"{{path: {_quoted(path)}, kind: {_quoted(kind)}}}" for path in paths)
        given = [f"sources=[{listed}]"]
    else:
        given = [f"kind={kind}"]
    return load_config(DataConfig, None, [*given, *overrides])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"  # as YAML has it
