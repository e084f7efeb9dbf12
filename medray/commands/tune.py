"""`medray tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.errors import ConfigError


def tune_command(
    config: Annotated[Path, typer.Argument(help="YAML of a GRPO or PPO job.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    job: Annotated[
        str | None, typer.Option(help="Kind of job; default the file name up to its first _.")
    ] = None,
    steps: Annotated[
        int, typer.Option(help="Counted steps of a trial, after one that warms up.", min=1)
    ] = 2,
) -> None:
    """Find the threads and the engine settings with which a job is fastest on this machine's CPU, and keep them.

    Runs the job itself for a few steps with each of some eight settings: minutes for a small model. Later runs of the
    same model on such a machine take what was found wherever the job says threads: auto, or names no block_tokens and
    batch_tokens of the engine.
    """
    from medray.commands.job_file import load_job
    from medray.config.rl import RlJob
    from medray.planning.tuned import describe

    wanted = load_job(config, overrides or (), job)
    if not isinstance(wanted, RlJob):
        raise ConfigError(f"{config} samples nothing: medray tune is for GRPO and PPO jobs")
    if wanted.model.device != "cpu":
        raise ConfigError(
            f"{config} is for model.device={wanted.model.device}: medray tune is for CPUs"
        )
    from medray.runs.inputs import require_inputs

    require_inputs(wanted)
    from medray.runs.tune import tune

    values, file, saved = tune(wanted, steps, typer.echo)
    typer.echo(f"kept in {file}: {describe(values)}, {saved:.0%} off a step")
