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
        str | None, typer.Option(help="Job type; default: the file name up to the first _.")
    ] = None,
    steps: Annotated[
        int, typer.Option(help="Measured steps per trial, after one warm-up step.", min=1)
    ] = 2,
) -> None:
    """Find the fastest thread and engine settings for a job on this machine's CPU, and save them.

    Runs the job for a few steps with each of about eight settings, which takes minutes for a small model. Later runs
    of the same model on such a machine use the saved settings where the job has threads: auto, or does not set the
    engine's block_tokens and batch_tokens.
    """
    from medray.commands.job_file import load_job
    from medray.config.rl import RlJob
    from medray.planning.tuned import describe

    wanted = load_job(config, overrides or (), job)
    if not isinstance(wanted, RlJob):
        raise ConfigError(f"{config} does not sample: medray tune supports GRPO and PPO jobs only")
    if wanted.model.device != "cpu":
        raise ConfigError(
            f"{config} has model.device={wanted.model.device}: medray tune supports CPUs only"
        )
    from medray.runs.inputs import require_inputs

    require_inputs(wanted)
    from medray.runs.tune import tune

    values, file, saved = tune(wanted, steps, typer.echo)
    typer.echo(f"saved to {file}: {describe(values)}, {saved:.0%} less time per step")
