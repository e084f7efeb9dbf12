"""`medray submit` and `medray job`."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medray.commands.run_app import INTERRUPTED, new_app
from medray.errors import ClusterError, ConfigError

if TYPE_CHECKING:
    from medray.actors.cluster.jobs import Cluster
    from medray.config.base import Section

Address = Annotated[
    str | None,
    typer.Option(
        help="Ray job server; default: $RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265."
    ),
]


def submit_command(
    context: typer.Context,
    script: Annotated[str, typer.Argument(help="Script of this project, such as jobs/grpo.py.")],
    address: Address = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return as soon as the job is accepted.")
    ] = False,
    include: Annotated[
        list[Path] | None, typer.Option(help="Also upload this file or folder (repeatable).")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(help="Environment variable of the job, KEY=VALUE (repeatable)."),
    ] = None,
) -> None:
    """Run a job on a cluster and follow its output: medray submit jobs/grpo.py --config FILE key=value ...

    Options of submit come before the script. Only code and configuration are uploaded, modules of this folder that
    the settings name included. Ends with the job's own exit code; Ctrl-C stops following, not the job. Submitting the
    same run folder again continues it.
    """
    from medray.actors.cluster.jobs import Cluster, running_in

    job = _checked_job(script, context.args)
    out = str(getattr(job, "out", "")) or None
    environ = _environment(env or [])
    with tempfile.TemporaryDirectory(prefix="medray-submit-") as folder:
        from medray.commands.bundle import make_bundle, own_modules

        here = Path.cwd()
        extra = [*own_modules(here), *(include or ())]
        target = Path(folder) / "job"
        bundle = make_bundle(_project(here), target, script, context.args, extra, folder=here)
        cluster = Cluster(address)
        if out is not None and (other := running_in(cluster.jobs(), out)) is not None:
            raise ConfigError(
                f"{other.id} is already running in {out}: follow it with `medray job logs {other.id}`, "
                "or choose another out="
            )
        entrypoint = shlex.join(["python", script, *bundle.arguments])
        metadata = {"script": script} | ({"out": out} if out else {})
        id = cluster.submit(entrypoint, bundle.folder, metadata=metadata, environ=environ)
    _say(
        f"{id} on {cluster.address}: {bundle.num_files} files, {bundle.num_bytes / 2**20:.1f} MiB uploaded"
    )
    if detach:
        _say(f"follow it with `medray job logs {id}`, stop it with `medray job stop {id}`")
        return
    raise typer.Exit(_follow(cluster, id))


def logs_command(
    job: Annotated[str, typer.Argument(help="Job id, as printed by `medray submit`.")],
    address: Address = None,
) -> None:
    """Follow the output of a job until it ends; exits with the job's exit code."""
    from medray.actors.cluster.jobs import Cluster

    raise typer.Exit(_follow(Cluster(address), job))


def stop_command(
    job: Annotated[str, typer.Argument(help="Job id, as printed by `medray submit`.")],
    address: Address = None,
) -> None:
    """Stop a job; to continue from its last checkpoint, submit it again with the same run folder."""
    from medray.actors.cluster.jobs import ENDED, Cluster

    cluster = Cluster(address)
    cluster.stop(job)
    for _ in range(60):
        if cluster.state(job).status in ENDED:
            _say(f"{job} has stopped")
            return
        time.sleep(0.5)
    raise ClusterError(f"{job} did not stop within 30 s: see `medray job list`")


def list_command(address: Address = None) -> None:
    """List the jobs of a cluster, newest first."""
    from medray.actors.cluster.jobs import Cluster

    for job in Cluster(address).jobs():
        typer.echo(
            f"{job.id}  {job.status:<9}  {job.metadata.get('out', '-'):<24}  {job.entrypoint}"
        )


job_app = new_app("Jobs on a cluster: list, logs, stop.")
job_app.command("list")(list_command)
job_app.command("logs")(logs_command)
job_app.command("stop")(stop_command)


def _follow(cluster: Cluster, job: str) -> int:
    def show(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        state = cluster.follow(job, show)
    except KeyboardInterrupt:
        _say(
            f"\n{job} goes on: `medray job logs {job}` follows it, `medray job stop {job}` stops it"
        )
        return INTERRUPTED
    if state.status != "SUCCEEDED":
        last = state.message.strip().splitlines()[-1:] or [""]
        _say(f"{job} {state.status.lower()}: {last[0]}" if state.exit_code is None else
             f"{job} {state.status.lower()} with exit code {state.code}")  # fmt: skip
    return state.code


def _project(here: Path) -> Path:
    """The checkout whose code is uploaded: the folder one works in, else the one that medray is imported from."""
    import medray

    return here if (here / "medray").is_dir() else Path(medray.__file__).parents[1]


def _checked_job(script: str, arguments: list[str]) -> Section | None:
    """The job that the settings describe, its plug-ins built, before anything is uploaded; None for other scripts."""
    from medray.commands.check_config import JOBS, job_schema
    from medray.config.loader import load_config
    from medray.runs.plugins import build_plugins

    kind = Path(script).stem.replace("_", "-")
    if kind not in JOBS:
        return None
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    config = None
    for option, value in pairwise([*arguments, ""]):
        if option in ("--config", "-c"):
            config = Path(value)
        elif option.startswith("--config="):
            config = Path(option.removeprefix("--config="))
    job = load_config(job_schema(kind), config, overrides)
    build_plugins(job)
    return job


def _environment(pairs: list[str]) -> dict[str, str]:
    found = {"MEDRAY_SUBMITTED_AT": f"{time.time():.3f}"}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--env {pair!r} is not of the form KEY=VALUE")
        found[key] = value
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
