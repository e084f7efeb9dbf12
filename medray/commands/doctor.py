"""`medray doctor`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medray.errors import ConfigError

if TYPE_CHECKING:
    from medray.doctor.examine import Subject
    from medray.doctor.finding import Finding

MARKS = {
    "OK": ("ok", "green"),
    "NOTE": ("note", "cyan"),
    "WARNING": ("warn", "yellow"),
    "ERROR": ("ERROR", "red"),
}


def doctor_command(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="YAML of a job; its model, device and folders are checked."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to check instead of the job's.")] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Skip the smoke test of vLLM and weight sync (half a minute)."
        ),
    ] = False,
    constraints: Annotated[
        Path | None,
        typer.Option(
            help="Constraints file to compare versions with; default: the checkout's constraints/."
        ),
    ] = None,
    only: Annotated[
        str, typer.Option(help="Comma-separated names of checks, such as shm,disk.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (for programs).")
    ] = False,
) -> None:
    """Diagnose this machine and installation: what is wrong, why it matters, and how to fix it.

    Exit codes: 0 no problems, 1 warnings, 2 errors.
    """
    from rich.console import Console

    from medray.doctor.examine import examine
    from medray.doctor.finding import exit_code

    if constraints is not None and not constraints.is_file():
        raise ConfigError(f"--constraints {constraints} does not exist: pass a constraints file")
    subject = _subject(config, model, constraints, smoke=not quick)
    subject = replace(subject, only=tuple(n for n in only.split(",") if n))
    screen, found = Console(stderr=True), []
    with screen.status("looking") as status:
        for finding in examine(subject, lambda name: status.update(f"checking {name}")):
            found.append(finding)
            if not as_json:
                _show(finding)
    if as_json:
        typer.echo(
            json.dumps(
                {"exit_code": exit_code(found), "findings": [f.as_json() for f in found]}, indent=2
            )
        )
    else:
        typer.echo(_sum_up(found))
    raise typer.Exit(exit_code(found))


def _subject(
    config: Path | None, model: str | None, constraints: Path | None, *, smoke: bool
) -> Subject:
    from medray.commands.job_file import load_job
    from medray.config.model import ModelConfig
    from medray.doctor.examine import Subject
    from medray.runs.plugins import build_plugins

    job = load_job(config) if config is not None else None
    wanted: ModelConfig = getattr(job, "model", ModelConfig())
    if model is not None:
        wanted = wanted.model_copy(update={"path": model})
    build = partial(build_plugins, job) if job is not None else None
    return Subject(wanted, Path(getattr(job, "out", "runs")), constraints, smoke, build)


def _show(finding: Finding) -> None:
    mark, colour = MARKS[finding.severity.name]
    typer.echo(f"{typer.style(f'{mark:<5}', fg=colour)}  {finding.check:<14} {finding.what}")
    for label, text in (("why", finding.why), ("fix", finding.fix)):
        if text:
            typer.echo(f"{'':<22}{label}: {text}")


def _sum_up(found: list[Finding]) -> str:
    counts = [sum(f.severity.name == name for f in found) for name in ("ERROR", "WARNING")]
    if not any(counts):
        return "no problems found"
    words = [
        f"{n} {word}{'s' * (n != 1)}"
        for n, word in zip(counts, ("error", "warning"), strict=True)
        if n
    ]
    return " and ".join(words)
