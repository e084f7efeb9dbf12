"""Which bundle each actor is in, and which GPU Ray then gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from medray.actors.cluster.placement import NO_BUNDLE, plan_bundles
from medray.config.resources import Role
from medray.config.workers import WorkerGroup
from tests.support.jobs import ROOT

GPUS = """
import json, ray
from medray.actors.cluster.placement import reserve
from medray.config.resources import Role
from medray.config.workers import WorkerGroup

ray.init(num_cpus=8, num_gpus=4, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")

@ray.remote
class Card:
    def ids(self):
        return ray.get_gpu_ids()

share = WorkerGroup(count=4, cpus=0.5, gpus=0.5)
placement = reserve([Role("learner", share), Role("rollout", share)], spread=False, deadline_s=60, colocate=True)
found = {}
for role in ("learner", "rollout"):  # in the order of a job's start: all ranks, then all engines
    actors = [Card.options(**options).remote() for options in placement.options(role)]
    found[role] = (actors, ray.get([actor.ids.remote() for actor in actors]))
print(json.dumps({role: ids for role, (_, ids) in found.items()}))
"""


def _roles(**counts: int) -> list[Role]:
    return [Role(name, WorkerGroup(count=n, cpus=0.5, gpus=0.5)) for name, n in counts.items()]


def test_every_actor_has_a_bundle_of_its_own() -> None:
    roles = [*_roles(learner=2, rollout=3), Role("grader", WorkerGroup(count=2, cpus=0))]
    bundles, places = plan_bundles(roles)
    assert bundles == [{"CPU": 0.5, "GPU": 0.5}] * 5
    assert places == {"learner": [0, 1], "rollout": [2, 3, 4], "grader": [NO_BUNDLE] * 2}


def test_colocated_ranks_and_engines_share_bundles_in_pairs() -> None:
    bundles, places = plan_bundles(_roles(learner=2, rollout=2, reference=1), colocate=True)
    assert bundles == [{"CPU": 1.0, "GPU": 1.0}] * 2 + [{"CPU": 0.5, "GPU": 0.5}]
    assert places == {"learner": [0, 1], "rollout": [0, 1], "reference": [2]}


@pytest.mark.ray
def test_colocated_pairs_share_a_gpu_each() -> None:
    """Only this has Ray give out (pretended) GPUs: without pairs it puts two ranks on one of four."""
    done = subprocess.run(
        [sys.executable, "-c", GPUS],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids = json.loads(done.stdout.strip().splitlines()[-1])
    assert ids["learner"] == ids["rollout"]
    assert sorted(i for [i] in ids["learner"]) == [0, 1, 2, 3]
