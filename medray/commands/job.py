"""How every script in jobs/ is started: `--config FILE key=value ...`, `--dry-run`, one-line errors."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from medray.commands.run_app import INTERRUPTED, new_app, run_app
from medray.config.base import Section
from medray.config.loader import dump_config, load_config
from medray.errors import ConfigError

S = TypeVar("S", bound=Section)


def run_job(
    schema: type[S], run: Callable[[S], None], describe: Callable[[S], str], help: str
) -> None:
    """Parse the command line into `schema` and run the job; ends the process with the right exit code."""
    app = new_app()

    @app.command(help=help, context_settings={"help_option_names": ["-h", "--help"]})
    def command(
        overrides: Annotated[
            list[str] | None, typer.Argument(help="Settings as key=value, such as optim.lr=1e-5.")
        ] = None,
        config: Annotated[
            Path | None, typer.Option("--config", "-c", help="YAML file with the job's settings.")
        ] = None,
        dry_run: Annotated[
            bool,
            typer.Option(
                "--dry-run",
                help="Print the resolved settings and resources without starting anything.",
            ),
        ] = False,
    ) -> None:
        if config is None and not overrides and not dry_run:
            raise ConfigError(
                "name the settings: --config FILE, e.g. one of jobs/configs/, or key=value "
                "(--dry-run shows the defaults)"
            )
        job = in_runs_folder(load_config(schema, config, overrides or ()))
        if dry_run:
            from medray.runs.plugins import build_plugins

            build_plugins(job)
            print(dump_config(job), end="")
            print(describe(job))
            return
        from medray.runs.inputs import require_inputs

        require_inputs(job)
        warnings.filterwarnings("ignore", category=FutureWarning)
        try:
            run(job)
        except KeyboardInterrupt:
            print(
                "interrupted: run the same command again to continue from the last checkpoint",
                file=sys.stderr,
            )
            raise typer.Exit(INTERRUPTED) from None

    signal.signal(signal.SIGTERM, _interrupt)  # what `medray job stop` and Kubernetes send
    run_app(app, log_level="info")


def in_runs_folder(job: S) -> S:
    """The job with its run folder under $MEDRAY_RUNS, where that is set and the folder is a relative one.

    Clusters set it to storage that outlives the job's temporary working directory.
    """
    root, out = os.environ.get("MEDRAY_RUNS"), getattr(job, "out", None)
    if not root or out is None or Path(out).is_absolute():
        return job
    place = Path(out)
    inner = place.relative_to("runs") if place.parts[:1] == ("runs",) else place
    return job.model_copy(update={"out": str(Path(root).expanduser() / inner)})


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
