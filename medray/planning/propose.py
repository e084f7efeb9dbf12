"""Whether a job fits, and the smallest changes that make it fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medray.config.base import Section
from medray.config.rl import RlJob
from medray.errors import MedrayError
from medray.planning.machine import Machine
from medray.planning.plan import Plan, plan_job
from medray.system.units import GIB

HEADROOM = 0.92  # share of a device that may be planned


@dataclass(frozen=True)
class FitReport:
    """What does not fit, and what to change."""

    problems: tuple[str, ...]
    proposals: tuple[str, ...]  # overrides for the command line, each with what it gives
    layout: str

    @property
    def fits(self) -> bool:
        """True when nothing is in the way."""
        return not self.problems


def assess(job: Section, plan: Plan, machine: Machine) -> FitReport:
    """Compare a plan with a machine; proposals are tried, so each is known to fit."""
    problems = tuple(_problems(plan, machine))
    found = tuple(_proposals(job, machine)) if problems else ()
    return FitReport(problems, found, layout(job, plan, machine))


def layout(job: Section, plan: Plan, machine: Machine) -> str:
    """Where the roles of a job go: separate or colocated GPUs, turns on a CPU."""
    if not isinstance(job, RlJob):
        return "one group of learner ranks"
    if plan.device == "cpu":
        wanted = job.workers.learner.num_threads + job.workers.rollout.num_threads
        if wanted > machine.cores:
            return "learner and engine take turns on the same cores (workers.*.cpus below their threads)"
        return "learner and engine each on cores of their own"
    if machine.gpu_bytes is None:
        return "none: the machine has no GPU"
    both = plan.gpu_bytes["learner"] + _least_engine(job, plan)
    engines = job.workers.rollout.count * job.rollout.engine.tensor_parallel
    wanted_gpus = engines + sum(r.count for r in plan.roles if r.name not in ("rollout", "grader"))
    if machine.num_gpus * machine.num_nodes >= wanted_gpus:
        return "separate: every rank and engine on a GPU of its own"
    if both <= machine.gpu_bytes * HEADROOM:
        share = _least_engine(job, plan) / machine.gpu_bytes
        return (
            "colocated: workers.colocate=true workers.learner.gpus=0.5 workers.rollout.gpus=0.5 "
            f"rollout.engine.gpu_memory_utilization={max(0.2, round(share + 0.05, 2)):g}"
        )
    return f"separate, on {wanted_gpus} GPUs: learner and engine do not fit on one together"


def _problems(plan: Plan, machine: Machine) -> Iterator[str]:
    if plan.device == "cuda" and machine.gpu_bytes is None:
        yield "model.device=cuda, and the machine has no GPU"
        return
    room = (machine.gpu_bytes or 0) * HEADROOM
    for role in plan.roles if plan.device == "cuda" else ():
        if role.memory.device_bytes > room:
            most = max(role.memory.parts, key=lambda part: role.memory.parts[part])
            yield (
                f"{role.name}: {role.memory.device_bytes / GIB:.1f} GiB of a GPU with "
                f"{(machine.gpu_bytes or 0) / GIB:.0f} GiB (most of it {most})"
            )
    have = machine.memory_bytes * machine.num_nodes
    if plan.host_bytes > have * HEADROOM:
        yield f"host memory: {plan.host_bytes / GIB:.1f} GiB of {have / GIB:.1f} GiB"
    for role in plan.roles:
        if role.note.startswith("KV cache for 0 "):
            yield f"{role.name}: the KV cache holds no sequence of the greatest length"


_CHANGES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"learner.row_tokens": 2048}, "smaller micro-batches, same result"),
    ({"model.gradient_checkpointing": True}, "activations are computed again: about a third more compute"),
    ({"model.gradient_checkpointing": True, "learner.row_tokens": 1024, "learner.head_chunk": 256}, "both"),
    ({"rollout.engine.kv_cache_gb": 1.0, "rollout.engine.max_num_seqs": 32}, "a smaller engine"),
    ({"learner.strategy": "zero2", "learner.offload_optimizer": True}, "the optimizer's state in host memory"),
    ({"learner.strategy": "fsdp2"}, "weights, gradients and optimizer spread over the workers"),
    ({"model.lora": {}}, "adapters instead of all the weights"),
    ({"model.lora": {}, "model.gradient_checkpointing": True, "learner.row_tokens": 1024}, "adapters, and less kept"),
    (
        {"model.lora": {}, "model.quantisation": "4bit", "model.gradient_checkpointing": True,
         "learner.row_tokens": 1024},
        "adapters on a 4-bit base (QLoRA)",
    ),
)  # fmt: skip


def _proposals(job: Section, machine: Machine) -> Iterator[str]:
    """The first changes, from harmless to drastic, after which the job fits."""
    found = 0
    for changes, effect in _CHANGES:
        changed = _changed(job, changes)
        if changed is None:
            continue
        try:
            if any(_problems(plan_job(changed, machine.gpu_bytes), machine)):
                continue
        except MedrayError:
            continue
        yield " ".join(f"{k}={_shown(v)}" for k, v in changes.items()) + f"  ({effect})"
        found += 1
        if found == 3:
            return


def _changed(job: Section, changes: dict[str, Any]) -> Section | None:
    """The job with other settings, or None where it has no such key or refuses them."""
    settings = job.model_dump(mode="json")
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        node: Any = settings
        for name in parents:
            node = node.get(name) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and node[leaf] <= value:
            return None  # a limit that is low already
        if isinstance(value, dict) and node[leaf] is not None:
            value = node[leaf]
        node[leaf] = value
    try:
        return type(job).model_validate(settings)
    except ValueError:
        return None


def _shown(value: Any) -> str:
    return (
        {True: "true", False: "false"}[value]
        if isinstance(value, bool)
        else "{}"
        if value == {}
        else str(value)
    )


def _least_engine(job: RlJob, plan: Plan) -> int:
    parts = next(r.memory.parts for r in plan.roles if r.name == "rollout")
    return sum(size for name, size in parts.items() if name != "KV cache") + 2 * GIB
