"""What a job's actors need from the cluster, as plain numbers: known before Ray is touched."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from medray.config.cluster import RoleResources
from medray.config.ppo import PpoJob
from medray.config.reward import by_role
from medray.config.rl import RlJob
from medray.config.supervised import SupervisedJob


@dataclass(frozen=True)
class Role:
    """One kind of actor, how many of it, and what each reserves."""

    name: str
    count: int
    resources: RoleResources

    @property
    def bundle(self) -> dict[str, float]:
        """One actor's reservation in Ray's terms."""
        wanted = {"CPU": self.resources.cpus, "GPU": self.resources.gpus, **self.resources.custom}
        return {name: amount for name, amount in wanted.items() if amount > 0}


def rl_roles(job: RlJob) -> list[Role]:
    """Roles of an RL job, in placement order."""
    scale = job.scale
    shared = isinstance(job, PpoJob) and job.is_shared
    roles = [
        Role("learner", scale.learner_ranks, scale.learner),
        Role("rollout", scale.rollout_workers, scale.rollout),
    ]
    if isinstance(job, PpoJob) and not shared:
        roles.append(Role("critic", job.scale.critic_ranks, job.scale.critic))
    if job.algorithm.kl.coef > 0 and (job.model.lora is None or job.learner.shards_weights):
        roles.append(Role("reference", scale.references, scale.reference))
    if job.algorithm.is_taught_by_engines:
        roles.append(Role("teacher", scale.teachers, scale.teacher))
    if by_role(job.rewards)["reward"] and not shared:
        roles.append(Role("reward", scale.reward_models, scale.reward))
    roles.append(Role("grader", scale.graders, scale.grader))
    return roles


def supervised_roles(job: SupervisedJob) -> list[Role]:
    """Roles of a supervised job."""
    return [Role("worker", job.workers.num_workers, job.workers.resources)]


def total(roles: list[Role]) -> dict[str, float]:
    """Sum of all reservations."""
    amounts: Counter[str] = Counter()
    for role in roles:
        for name, amount in role.bundle.items():
            amounts[name] += amount * role.count  # type: ignore[assignment]
    return {name: round(amount, 3) for name, amount in amounts.items()}


def describe(roles: list[Role]) -> str:
    """One line a role, and the total, for people."""
    lines = [
        f"  {role.name:<10}{role.count} x {_amounts(role.bundle)}, {role.resources.num_threads} threads"
        for role in roles
    ]
    return "\n".join(["resources:", *lines, f"  {'total':<10}{_amounts(total(roles))}"])


def _amounts(bundle: dict[str, float]) -> str:
    return " + ".join(f"{amount:g} {name}" for name, amount in bundle.items()) or "nothing reserved"
