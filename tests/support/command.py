"""Command lines in this process: what a fresh interpreter would say, without the seconds its imports take.

Only for what ends before Ray starts; a process of its own is started by `tests.support.jobs.run_job`.
"""

from __future__ import annotations

import io
import json
import logging
import runpy
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

from medray.cli import app, main

ROOT = Path(__file__).resolve().parents[2]


def commands(command, *names: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """Names and commands of a tree of commands, groups included."""
    yield names, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *names, name)


MEDRAY = dict(commands(typer.main.get_command(app)))
"""Every `medray` command and group by its words."""


@dataclass(frozen=True)
class Outcome:
    """How a command line ended."""

    code: int
    stdout: str
    stderr: str


def medray_here(*arguments: str) -> Outcome:
    """Run `medray ARGUMENTS` in this process."""
    with _as_command("medray", *arguments) as (stdout, stderr):
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code
    return Outcome(int(code or 0), stdout.getvalue(), stderr.getvalue())


def job_here(settings: dict[str, Any], *overrides: str, job: str = "grpo") -> Outcome:
    """Run jobs/JOB.py in this process with `settings` as its YAML."""
    path = Path(settings["out"]).parent / "job.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return script_here(str(ROOT / "jobs" / f"{job}.py"), "--config", str(path), *overrides)


def script_here(script: str, *arguments: str) -> Outcome:
    """Run a Python file in this process as `python SCRIPT ARGUMENTS` would."""
    with _as_command(script, *arguments) as (stdout, stderr):
        try:
            runpy.run_path(script, run_name="__main__")
            code: Any = 0
        except SystemExit as end:
            code = end.code
    return Outcome(int(code or 0), stdout.getvalue(), stderr.getvalue())


def assert_one_line(outcome: Outcome, code: int, message: str) -> None:
    """Assert that the command ended with `code` and one line of error that holds `message`."""
    lines = [line for line in (outcome.stdout + outcome.stderr).splitlines() if line.strip()]
    assert outcome.code == code, outcome
    assert len(lines) == 1, outcome
    assert lines[0].startswith("error: ")
    assert message in lines[0]


@contextmanager
def _as_command(*argv: str) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Set arguments and streams for the block; put back all that command lines set for their process."""
    logger, before = logging.getLogger("medray"), sys.argv
    logged = (logger.level, logger.propagate, list(logger.handlers))
    handled = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stdout, stderr = io.StringIO(), io.StringIO()
    sys.argv = list(argv)
    try:
        with warnings.catch_warnings(), redirect_stdout(stdout), redirect_stderr(stderr):
            yield stdout, stderr
    finally:
        sys.argv = before
        logger.setLevel(logged[0])
        logger.propagate, logger.handlers[:] = logged[1], logged[2]
        for number, handler in handled.items():
            signal.signal(number, handler)
