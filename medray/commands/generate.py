"""`medray generate`: jobs/generate.py with the model, the input and the output named first."""

from __future__ import annotations

from typing import Annotated

import typer


def generate_command(
    model: Annotated[
        str, typer.Argument(help="Run, model folder, adapter folder, catalogue name or hub id.")
    ],
    input: Annotated[str, typer.Argument(help="JSON Lines, Parquet, CSV ...: a row a prompt.")],
    output: Annotated[str, typer.Argument(help="File to write: .jsonl or .parquet.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings as key=value, e.g. sampling.max_new_tokens=256 workers.engine.count=4."
        ),
    ] = None,
) -> None:
    """Answer every row of a file; run it again after an interruption and it goes on."""
    from medray.config.generate import GenerateJob
    from medray.config.loader import load_config

    base = {"model": model, "input": input, "output": output}
    job = load_config(GenerateJob, None, settings or [], base=base)
    from medray.runs.inputs import require_inputs

    require_inputs(job)
    from medray.runs.generate import run_generate

    run_generate(job)
