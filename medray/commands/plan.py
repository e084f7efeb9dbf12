"""`medray plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medray.errors import ConfigError, ResourceError
from medray.system.units import GIB

if TYPE_CHECKING:
    from medray.planning.machine import Machine
    from medray.planning.plan import Plan
    from medray.planning.propose import FitReport


def plan_command(
    config: Annotated[Path | None, typer.Argument(help="YAML of a job.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    job: Annotated[
        str | None, typer.Option(help="Job type; default: the file name up to the first _.")
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            help="Machine to plan for instead of this one, such as memory=64,gpu=80,gpus=8,cores=32,nodes=1 (GiB)."
        ),
    ] = None,
    table: Annotated[
        bool,
        typer.Option(
            "--table", help="Print a table of GPU memory by model size and training method."
        ),
    ] = False,
    tokens: Annotated[int, typer.Option(help="Tokens per row, for --table.", min=16)] = 2048,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (for programs).")
    ] = False,
) -> None:
    """Estimate the memory of every process of a job, and suggest changes if it does not fit.

    Exits with code 3 if the job does not fit. CPU estimates are tested against measurements; GPU estimates use
    the same arithmetic and have not been compared with a GPU.
    """
    if table:
        _print_table(tokens, as_json)
        return
    if config is None:
        raise ConfigError(
            "pass a job's YAML, such as medray plan jobs/configs/grpo_smollm2_cpu.yaml, or --table"
        )
    from medray.commands.job_file import load_job
    from medray.config.grpo import GrpoJob
    from medray.config.supervised import SupervisedJob
    from medray.planning.machine import given_machine, this_machine
    from medray.runs.inputs import require_models

    wanted = load_job(config, overrides or (), job)
    if not isinstance(wanted, GrpoJob | SupervisedJob):
        raise ConfigError(
            f"{config} is not a training job: medray plan supports training jobs only"
        )
    where = given_machine(machine) if machine else this_machine()
    require_models(wanted)
    from medray.planning.plan import plan_job
    from medray.planning.propose import assess

    plan = plan_job(wanted, where.gpu_bytes)
    report = assess(wanted, plan, where)
    if as_json:
        typer.echo(json.dumps(_as_json(plan, report), indent=2))
    else:
        _print_plan(plan, where, report)
    if not report.fits:
        raise ResourceError(f"{config} does not fit: {'; '.join(report.problems)}")


def _print_plan(plan: Plan, machine: Machine, report: FitReport) -> None:
    typer.echo(f"largest row  {plan.row.num_tokens} tokens, {plan.row.num_trained} of them trained")
    for role in plan.roles:
        size = role.memory.device_bytes / GIB
        typer.echo(
            f"{role.name:<12} {role.count} x {size:.2f} GiB of {'GPU' if plan.gpu_bytes else 'host'} memory"
        )
        for name, part in sorted(role.memory.parts.items(), key=lambda item: -item[1]):
            if part >= 2**20:
                typer.echo(f"{'':<13}{name:<14}{part / GIB:6.2f}")
        if role.memory.host_bytes:
            typer.echo(f"{'':<13}and {role.memory.host_bytes / GIB:.2f} GiB of host memory")
        if role.note:
            typer.echo(f"{'':<13}{role.note}")
    typer.echo(f"{'object store':<12} {plan.object_store_bytes / GIB:.2f} GiB of shared memory")
    typer.echo(f"{'Ray, driver':<12} {plan.ray_bytes / GIB:.2f} GiB")
    have = machine.memory_bytes * machine.num_nodes
    typer.echo(f"{'host':<12} {plan.host_bytes / GIB:.2f} GiB of {have / GIB:.1f} GiB")
    typer.echo(f"{'layout':<12} {report.layout}")
    for proposal in report.proposals:
        typer.echo(f"{'it fits with':<12} {proposal}")


def _as_json(plan: Plan, report: FitReport) -> dict[str, Any]:
    roles = {
        r.name: {
            "count": r.count, "device_bytes": r.memory.device_bytes, "host_bytes": r.memory.host_bytes,
            "parts": dict(r.memory.parts),
        }
        for r in plan.roles
    }  # fmt: skip
    return {
        "device": plan.device, "row_tokens": plan.row.num_tokens, "roles": roles, "host_bytes": plan.host_bytes,
        "fits": report.fits, "problems": report.problems, "proposals": report.proposals, "layout": report.layout,
    }  # fmt: skip


def _print_table(tokens: int, as_json: bool) -> None:
    from medray.planning.table import KINDS
    from medray.planning.table import table as rows

    found = list(rows(tokens))
    if as_json:
        typer.echo(
            json.dumps(
                [{"size": r.size, "num_params": r.num_params, "gib": r.gib} for r in found],
                indent=2,
            )
        )
        return
    typer.echo(
        f"GiB of one GPU: bfloat16, gradient checkpointing, rows of {tokens} tokens, AdamW, LoRA rank 16"
    )
    typer.echo(f"{'size':<6}{'parameters':>12}" + "".join(f"{kind:>13}" for kind in KINDS))
    for row in found:
        cells = "".join(f"{row.gib[kind]:>13.1f}" for kind in KINDS)
        typer.echo(f"{row.size:<6}{row.num_params / 1e9:>11.2f}B{cells}")
    typer.echo(
        "full: float32 weights and Adam state; shard over GPUs with learner.strategy=fsdp2 or zero3"
    )
