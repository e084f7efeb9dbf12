"""`medray generate`: jobs/generate.py with the model, the input and the output named first."""

from __future__ import annotations

from typing import Annotated

import typer


def generate_command(
    model: Annotated[
        str, typer.Argument(help="Run, model folder, adapter folder, catalogue name or hub id.")
    ],
    input: Annotated[
        str, typer.Argument(help="JSON Lines, Parquet, CSV, ...: one prompt per row.")
    ],
    output: Annotated[str, typer.Argument(help="File to write: .jsonl or .parquet.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings as key=value, such as sampling.max_new_tokens=256 workers.engine.count=4."
        ),
    ] = None,
) -> None:
    """Generate answers to every row of a file; resumes after an interruption when run again."""
    from medray.config.generate import GenerateJob
    from medray.config.loader import load_config

    base = {"model": model, "input": input, "output": output}
    job = load_config(GenerateJob, None, settings or [], base=base)
    from medray.runs.inputs import require_inputs

    require_inputs(job)
    from medray.runs.generate import run_generate

    run_generate(job)
