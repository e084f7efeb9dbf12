"""What a job's actors need from the cluster, as plain numbers: known before Ray is touched."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from medray.config.ppo import PpoJob
from medray.config.reward import by_role
from medray.config.rl import RlJob
from medray.config.supervised import SupervisedJob
from medray.config.workers import WorkerGroup


@dataclass(frozen=True)
class Role:
    """One kind of actor, how many of it, and what each reserves."""

    name: str
    workers: WorkerGroup


def rl_roles(job: RlJob) -> list[Role]:
    """Roles of an RL job, in placement order."""
    workers = job.workers
    shared = isinstance(job, PpoJob) and job.is_shared
    roles = [Role("learner", workers.learner), Role("rollout", workers.rollout)]
    if isinstance(job, PpoJob) and not shared:
        roles.append(Role("critic", job.workers.critic))
    if job.has_reference:
        roles.append(Role("reference", workers.reference))
    if job.algorithm.is_taught_by_engines:
        roles.append(Role("teacher", workers.teacher))
    if by_role(job.rewards)["reward"] and not shared:
        roles.append(Role("reward", workers.reward))
    roles.append(Role("grader", workers.grader))
    return roles


def supervised_roles(job: SupervisedJob) -> list[Role]:
    """Roles of a supervised job."""
    return [Role("learner", job.workers.learner)]


def total(roles: list[Role]) -> dict[str, float]:
    """Sum the resources that all roles reserve, by resource name."""
    amounts: Counter[str] = Counter()
    for role in roles:
        for name, amount in role.workers.bundle.items():
            amounts[name] += amount * role.workers.count  # type: ignore[assignment]
    return {name: round(amount, 3) for name, amount in amounts.items()}


def describe(roles: list[Role]) -> str:
    """One line a role, and the total, for people."""
    lines = [
        f"  {role.name:<10}{role.workers.count} x {_amounts(role.workers.bundle)}, "
        f"{role.workers.num_threads} threads"
        for role in roles
    ]
    return "\n".join(["resources:", *lines, f"  {'total':<10}{_amounts(total(roles))}"])


def _amounts(bundle: dict[str, float]) -> str:
    return " + ".join(f"{amount:g} {name}" for name, amount in bundle.items()) or "nothing reserved"
