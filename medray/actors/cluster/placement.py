"""Reserving room for all actors of a job before any of them starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from medray.config.resources import Role, total
from medray.errors import ResourceError

NO_BUNDLE = -1


@dataclass(frozen=True)
class Placement:
    """Reserved room: a placement group, and which of its bundles each actor of each role is in."""

    group: PlacementGroup
    roles: Mapping[str, Role]
    bundles: Mapping[str, Sequence[int]]

    def options(self, role: str) -> list[dict[str, Any]]:
        """Options that put each actor of `role` into its bundle; none where the job has no such role."""
        return [self._options(self.roles[role], i) for i in self.bundles.get(role, ())]

    def _options(self, role: Role, bundle: int) -> dict[str, Any]:
        place = PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=bundle)
        return {
            "num_cpus": role.workers.cpus,
            "num_gpus": role.workers.gpus,
            "resources": dict(role.workers.custom),
            "scheduling_strategy": "DEFAULT" if bundle == NO_BUNDLE else place,
        }


def plan_bundles(
    roles: Sequence[Role], *, colocate: bool = False
) -> tuple[list[dict[str, float]], dict[str, list[int]]]:
    """The bundles of a job's placement group, and the bundle of each actor of each role.

    Each actor that reserves anything has a bundle of its own. With `colocate`, rank i of the learner and engine i have
    one for both: Ray gives out the shares of a bundle's GPU from that GPU alone, while shares of bundles of their own
    may put two engines on one GPU and two ranks on another.
    """
    bundles: list[dict[str, float]] = []
    places: dict[str, list[int]] = {}
    for role in roles:
        workers = role.workers
        if not workers.bundle:
            places[role.name] = [NO_BUNDLE] * workers.count
        elif colocate and role.name == "rollout":
            places[role.name] = places["learner"]
            for bundle in places["learner"]:
                bundles[bundle] = dict(Counter(bundles[bundle]) + Counter(workers.bundle))
        else:
            places[role.name] = list(range(len(bundles), len(bundles) + workers.count))
            bundles += [workers.bundle] * workers.count
    return bundles, places


def reserve(
    roles: Sequence[Role], *, spread: bool, deadline_s: float, colocate: bool = False
) -> Placement:
    """One placement group for all actors that reserve anything.

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
    bundles, places = plan_bundles(roles, colocate=colocate)
    group = placement_group(bundles, strategy="SPREAD" if spread else "PACK")
    ready, _ = ray.wait([group.ready()], timeout=deadline_s)
    if not ready:
        remove_placement_group(group)
        raise ResourceError(
            f"{wanted} could not be placed within {deadline_s:g} s: other jobs use the cluster's resources"
        )
    return Placement(group, {role.name: role for role in roles}, places)


def outside(options: dict[str, Any]) -> dict[str, Any]:
    """Options of an actor that reserves as much, on any node that has room, preferably one with fewer actors."""
    return options | {"scheduling_strategy": "SPREAD"}


def _autoscaling() -> bool:
    """True on clusters that can grow, where a lack is worth waiting for."""
    import os

    return bool(os.environ.get("MEDRAY_AUTOSCALING"))
