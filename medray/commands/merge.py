"""`medray merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.errors import ConfigError

DTYPES = ("float32", "bfloat16", "float16")


def merge_command(
    adapter: Annotated[
        Path, typer.Argument(help="Folder of an adapter, such as a LoRA checkpoint.")
    ],
    out: Annotated[Path, typer.Argument(help="Output folder; must not exist.")],
    dtype: Annotated[
        str | None, typer.Option(help=f"{', '.join(DTYPES)}; default: the base's.")
    ] = None,
) -> None:
    """Merge an adapter into its base model; also for reward models."""
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"--dtype {dtype}: use one of {', '.join(DTYPES)}")
    from medray.models.adapters.chain import require_mergeable

    require_mergeable(adapter, out)
    from medray.models.adapters.merge import merge_adapter

    typer.echo(f"merged into {merge_adapter(adapter, out, dtype=dtype)}")
