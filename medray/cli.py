"""The `medray` command.

Each command is one file under `medray/commands/`. None of them may import torch, ray, vllm or
transformers at module level, so that `medray --help` stays under a second.
"""

from __future__ import annotations

import sys

import typer

from medray.commands import (
    check_config,
    data,
    doctor,
    fetch_model,
    merge,
    version,
)
from medray.errors import MedrayError

INTERRUPTED = 130

app = typer.Typer(
    name="medray",
    help="Train, align and serve medical language models on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("fetch-model")(fetch_model.fetch_model_command)
app.command("check-config")(check_config.check_config_command)
app.add_typer(data.app, name="data")
app.command("merge")(merge.merge_command)
app.command("doctor")(doctor.doctor_command)
app.command("version")(version.version_command)


def main() -> None:
    """Run one command; an error medray knows is one line on stderr and an exit code of its own."""
    try:
        app()
    except MedrayError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
