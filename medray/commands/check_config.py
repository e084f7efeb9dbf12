"""`medray check-config`."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medray.errors import ConfigError

if TYPE_CHECKING:
    from medray.config.base import Section

JOBS = {
    "pt": "medray.config.pt:PtJob",
    "sft": "medray.config.sft:SftJob",
    "rm": "medray.config.rm:RmJob",
    "prm": "medray.config.prm:PrmJob",
    "dpo": "medray.config.dpo:DpoJob",
    "orpo": "medray.config.orpo:OrpoJob",
    "kto": "medray.config.kto:KtoJob",
    "prepare": "medray.config.prepare:PrepareJob",
    "grpo": "medray.config.grpo:GrpoJob",
    "ppo": "medray.config.ppo:PpoJob",
    "distill": "medray.config.distill:DistillJob",
    "online-dpo": "medray.config.online_dpo:OnlineDpoJob",
    "generate": "medray.config.generate:GenerateJob",
    "evaluate": "medray.config.evaluate:EvaluateJob",
}
"""Job name -> its schema, imported when asked for."""
SCHEMAS = {
    **JOBS,
    "serve": "medray.config.serve:ServeApp",
    "quantise": "medray.config.quantise:QuantiseJob",
}
"""What else has settings."""


def check_config_command(
    job: Annotated[str, typer.Argument(help=f"One of: {', '.join(SCHEMAS)}.")],
    config: Annotated[Path | None, typer.Argument(help="YAML file.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema (for editors).")
    ] = False,
) -> None:
    """Check a configuration without starting anything, and print all resolved settings as JSON."""
    from medray.config.loader import dump_config, load_config
    from medray.runs.plugins import build_plugins

    section = job_schema(job)
    if schema:
        typer.echo(json.dumps(section.model_json_schema(), indent=2, ensure_ascii=False))
        return
    if config is None:
        raise ConfigError(
            f"pass a YAML file: medray check-config {job} jobs/configs/{job}_....yaml"
        )
    loaded = load_config(section, config, overrides or [])
    build_plugins(loaded)
    typer.echo(dump_config(loaded), nl=False)


def job_schema(job: str) -> type[Section]:
    """The configuration schema of a job.

    Raises:
        ConfigError: there is no such job.
    """
    if job not in SCHEMAS:
        raise ConfigError(f"unknown job {job!r}: use one of {', '.join(SCHEMAS)}")
    module, _, name = SCHEMAS[job].partition(":")
    section: type[Section] = getattr(importlib.import_module(module), name)
    return section
