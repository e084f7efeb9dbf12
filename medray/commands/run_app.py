"""How every command line of medray ends: an error it knows is one line on stderr and an exit code of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from medray.config.names import make_importable
from medray.errors import MedrayError
from medray.observability.logging import setup_from_environment

INTERRUPTED = 130


def run_app(app: typer.Typer, log_level: str = "warning") -> None:
    """Parse the command line and run what it names; ends the process unless all went well.

    Args:
        app: the commands.
        log_level: what is logged to stderr where $MEDRAY_LOG does not say.
    """
    try:
        setup_from_environment(log_level)
        make_importable(Path.cwd())
        app()
    except MedrayError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
