"""`medray quantise`."""

from __future__ import annotations

import logging
import os
from typing import Annotated

import typer


def quantise_command(
    model: Annotated[
        str, typer.Argument(help="Run, model folder, adapter folder, catalogue name or hub id.")
    ],
    out: Annotated[str, typer.Argument(help="Output folder; must not exist.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings as key=value, such as method=8bit questions.num_eval=512."),
    ] = None,
) -> None:
    """Quantize a model to 4 or 8 bits per weight, and report the change in perplexity and accuracy."""
    from medray.config.loader import load_config
    from medray.config.quantise import QuantiseJob

    base = {"model": model, "out": out}
    job = load_config(QuantiseJob, None, settings or [], base=base)
    from medray.runs.inputs import require_inputs
    from medray.storage.writable import require_new_folder

    require_new_folder(job.out, "out")
    require_inputs(job)
    for name, value in (("TQDM_DISABLE", "1"), ("DS_ACCELERATOR", job.device)):
        os.environ.setdefault(name, value)  # read when the libraries are imported, which else talk
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from medray.runs.quantise import run_quantise

    run_quantise(job)
