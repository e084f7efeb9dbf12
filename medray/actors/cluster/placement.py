"""Reserving room for all actors of a job before any of them starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from medray.config.resources import Role, total
from medray.errors import ResourceError


def reserve(roles: Sequence[Role], *, spread: bool, deadline_s: float) -> PlacementGroup:
    """One placement group with a bundle for each actor that reserves anything, in role order.

    Raises:
        ResourceError: the cluster cannot hold the job; says what is asked for and what there is.
    """
    wanted, have = total(list(roles)), ray.cluster_resources()
    lacking = {n: a for n, a in wanted.items() if a > have.get(n, 0.0) + 1e-9}
    if lacking and not _autoscaling():
        raise ResourceError(
            "the cluster lacks "
            + ", ".join(
                f"{name} (needs {amount:g}, has {have.get(name, 0):g})"
                for name, amount in lacking.items()
            )
            + ": lower workers.*, or add nodes"
        )
    groups = [role.workers for role in roles]
    bundles = [w.bundle for w in groups if w.bundle for _ in range(w.count)]
    group = placement_group(bundles, strategy="SPREAD" if spread else "PACK")
    ready, _ = ray.wait([group.ready()], timeout=deadline_s)
    if not ready:
        remove_placement_group(group)
        raise ResourceError(
            f"{wanted} could not be placed within {deadline_s:g} s: other jobs use the cluster's resources"
        )
    return group


def actor_options(group: PlacementGroup, roles: Sequence[Role], name: str) -> list[dict[str, Any]]:
    """Options that put each actor of role `name` into its bundle."""
    first = 0
    for role in roles:
        if role.name == name:
            return [_options(group, first + i, role) for i in range(role.workers.count)]
        first += role.workers.count if role.workers.bundle else 0
    return []


def outside(options: dict[str, Any]) -> dict[str, Any]:
    """Options of an actor that reserves as much, on any node that has room, preferably one with fewer actors."""
    return options | {"scheduling_strategy": "SPREAD"}


def _options(group: PlacementGroup, bundle: int, role: Role) -> dict[str, Any]:
    place = PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=bundle if role.workers.bundle else -1
    )
    return {
        "num_cpus": role.workers.cpus,
        "num_gpus": role.workers.gpus,
        "resources": dict(role.workers.custom),
        "scheduling_strategy": place if role.workers.bundle else "DEFAULT",
    }


def _autoscaling() -> bool:
    """True on clusters that can grow, where a lack is worth waiting for."""
    import os

    return bool(os.environ.get("MEDRAY_AUTOSCALING"))
