"""Replicas come and go with the load, on a tiny model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.clients import Outcomes, load, replicas
from tests.support.service import RunningService

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
REPLICAS = "models.0.replicas={min: 1, max: 2, target_requests: 2, up_after_s: 1, down_after_s: 5}"


@pytest.fixture(scope="module")
def service(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    arguments = [str(tiny_model), "--name=run", "models.0.max_model_len=512", REPLICAS]
    with RunningService(arguments, tmp_path_factory.mktemp("scaling")) as running:
        yield running


def _num_healthy(service: RunningService) -> int:
    """Engines that Ray Serve counts as healthy."""
    text = httpx.get(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=20).text
    return sum(
        line.startswith("ray_serve_deployment_replica_healthy{")
        and "EngineServer" in line
        and float(line.rsplit(" ", 1)[1]) == 1
        for line in text.splitlines()
    )


class Until:
    """Called by clients before each request: true until the service has `num_replicas`, looked at once a second."""

    def __init__(self, service: RunningService, num_replicas: int, seconds: float = 240) -> None:
        self._service, self._wanted = service, num_replicas
        self._deadline = time.monotonic() + seconds
        self._looked = 0.0
        self.reached = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.reached and now - self._looked > 1:
            self._looked, self.reached = now, _num_healthy(self._service) == self._wanted
        return not self.reached and now < self._deadline


def test_one_replica_becomes_two_and_one_again_without_losing_a_request(
    service: RunningService,
) -> None:
    for num_clients, num_replicas in ((1, 1), (12, 2), (1, 1)):
        outcomes, until = Outcomes(), Until(service, num_replicas)
        asyncio.run(load(service, num_clients, until, outcomes))
        assert until.reached, f"not {num_replicas} but {_num_healthy(service)} replicas"
        assert set(outcomes.ended) <= {"whole"}, (outcomes.ended, outcomes.errors[:3])
    deadline = time.monotonic() + 120
    while len(replicas(service, "EngineServer")) > 1 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert len(replicas(service, "EngineServer")) == 1, "the process that is not needed goes on"
