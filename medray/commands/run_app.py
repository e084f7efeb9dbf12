"""What all command lines of medray share: the form of their help, one-line errors and exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

from medray.config.names import make_importable
from medray.errors import MedrayError
from medray.observability.logging import setup_from_environment

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

INTERRUPTED = 130


class CommandGroup(TyperGroup):
    """A group of commands whose help shows the summary of each in full, where Click ends it after one line."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the commands and their summaries, wrapped."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, c.get_short_help_str(limit=sys.maxsize)) for name, c in found if c]
            )


def new_app(help: str | None = None, *, name: str | None = None) -> typer.Typer:
    """Return an empty Typer app with medray's form of help.

    Plain text, since rich drops `[key=value ...]` as markup and shortens long words such as metavars.
    """
    return typer.Typer(
        name=name, help=help, cls=CommandGroup, no_args_is_help=True, add_completion=False,
        pretty_exceptions_enable=False, rich_markup_mode=None,
    )  # fmt: skip


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
