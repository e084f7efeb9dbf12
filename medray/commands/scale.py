"""`medray scale`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from medray.errors import ConfigError, DeadlineExceeded

POLL_S = 0.5


def scale_command(
    run: Annotated[Path, typer.Argument(help="Run folder of a running job.")],
    setting: Annotated[str, typer.Argument(help="rollouts=N")],
    wait: Annotated[bool, typer.Option(help="Wait until the workers serve or have left.")] = True,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Maximum wait, in seconds.", min=1)
    ] = 600.0,
) -> None:
    """Change the number of rollout workers of a running job.

    New workers serve from the next batch after they have the newest weights; removed workers finish their work first.
    Run it where the run folder is; on a cluster: ray exec cluster.yaml 'medray scale RUN rollouts=8'.
    """
    from medray.storage.control import ask_for, read_workers

    wanted = _number(setting)
    if read_workers(run) is None:
        raise ConfigError(
            f"{run}: no running job has reported workers there (workers.json): pass its run folder"
        )
    ask_for(run, wanted)
    if not wait:
        typer.echo(f"asked for {wanted} rollout workers")
        return
    end, told = time.monotonic() + timeout_s, ""
    while time.monotonic() < end:
        state = read_workers(run) or {}
        line = _line(state)
        if line != told:
            typer.echo(line)
            told = line
        if _reached(state, wanted):
            return
        time.sleep(POLL_S)
    raise DeadlineExceeded(
        f"{run}: {told or 'no answer'} after {timeout_s:g} s instead of {wanted} serving: the cluster may lack the "
        "resources (see `ray status`), or the job may have ended"
    )


def _number(setting: str) -> int:
    key, _, value = setting.partition("=")
    if key != "rollouts" or not value.isdigit() or int(value) < 1:
        raise ConfigError(f"{setting!r}: pass rollouts=N with N of 1 or more")
    return int(value)


def _reached(state: dict[str, Any], wanted: int) -> bool:
    workers = state.get("rollouts", [])
    return (
        state.get("wanted") == wanted
        and len(workers) == wanted
        and all(w["state"] == "serving" for w in workers)
    )


def _line(state: dict[str, Any]) -> str:
    counts: dict[str, int] = {}
    for worker in state.get("rollouts", []):
        counts[worker["state"]] = counts.get(worker["state"], 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
