"""The rollout writer: one file per step, written again by another process when the first dies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from medray.actors.groups import GroupHandle
from medray.actors.supervision.incidents import Incidents
from medray.actors.writer import RolloutWriter, WriterActor
from medray.config.grpo import GrpoJob
from medray.storage.rollout_files import read_rollouts
from medray.types import GroupScore
from tests.support.groups import random_groups, sampled

pytestmark = pytest.mark.ray


def _scored(count: int) -> list[GroupHandle]:
    groups = [sampled(i, group, ray.put(group)) for i, group in enumerate(random_groups(count))]
    for group in groups:
        group.on_scored(GroupScore((0.0, 1.0, 0.0, 1.0)))
    return groups


@pytest.mark.usefixtures("ray_here")
def test_a_dead_writer_is_replaced_and_the_step_is_written_again(tmp_path: Path) -> None:
    """Only this kills the writer: its death costs nothing, and no step is written twice or left out."""
    job = GrpoJob.model_validate({"out": str(tmp_path)})
    actors: list[Any] = []

    def spawn() -> Any:
        actors.append(WriterActor.options(num_cpus=0).remote(job))
        return actors[-1]

    writer = RolloutWriter(spawn, job, Incidents(tmp_path))
    advantages = [np.zeros(4, dtype=np.float32)] * 3
    writer.record(1, _scored(3), advantages)
    writer.finish()

    ray.kill(actors[0])
    writer.record(2, _scored(3), advantages)
    writer.record(3, _scored(3), advantages)
    writer.finish()

    assert len(actors) == 2
    rows = read_rollouts(tmp_path).to_pylist()
    assert [row["step"] for row in rows] == [1] * 12 + [2] * 12 + [3] * 12
    incidents = (tmp_path / "incidents.jsonl").read_text()
    assert "written again" in incidents
    assert "write the rollouts of step 2" in incidents
