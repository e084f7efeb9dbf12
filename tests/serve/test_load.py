"""A hundred clients for a minute, a replica killed under them, and a newer checkpoint rolled out under load."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients import Outcomes, load, replicas
from tests.support.service import RunningService
from tests.support.tiny import save_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

NUM_CLIENTS = 100
SECONDS = 60.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    _write_checkpoint(folder, 1, seed=0)
    return folder


@pytest.fixture(scope="module")
def service(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    arguments = [str(run), "--follow=1", "models.0.max_model_len=512", "safety.disclaimer=never"]
    arguments += ["models.0.replicas={min: 2, max: 2, surge_percent: 50}"]
    with RunningService(arguments, tmp_path_factory.mktemp("load")) as running:
        yield running


def _write_checkpoint(run: Path, step: int, *, seed: int) -> None:
    """A whole checkpoint, put in place in one rename as training does."""
    partial = run / "checkpoints" / f".step_{step:06d}.partial"
    partial.mkdir(parents=True)
    save_tiny_model(partial, seed=seed)
    (partial / "trainer_state.json").write_text("{}")
    shutil.move(partial, run / "checkpoints" / f"step_{step:06d}")


def test_a_hundred_clients_for_a_minute_in_flat_memory(service: RunningService) -> None:
    outcomes, started, memory = Outcomes(), time.monotonic(), []

    async def measured() -> None:
        ingress = replicas(service, "ChatIngress")[0]
        running = load(service, NUM_CLIENTS, lambda: time.monotonic() - started < SECONDS, outcomes)
        task = asyncio.create_task(running)
        while not task.done():
            memory.append(ingress.memory_info().rss)
            await asyncio.sleep(2)
        await task

    asyncio.run(measured())
    assert set(outcomes.ended) == {"whole"}, (outcomes.ended, outcomes.errors[:3])
    assert outcomes.ended["whole"] >= NUM_CLIENTS
    assert len(outcomes.texts) == 1, "the same greedy request had different answers"
    settled = memory[len(memory) // 3]
    assert memory[-1] < 1.10 * settled, [m >> 20 for m in memory]


def test_a_killed_replica_costs_its_open_streams_alone(service: RunningService) -> None:
    outcomes, started = Outcomes(), time.monotonic()
    victims = replicas(service, "EngineServer")
    assert len(victims) == 2

    async def killed() -> None:
        go_on = lambda: time.monotonic() - started < SECONDS / 2  # noqa: E731
        task = asyncio.create_task(load(service, 20, go_on, outcomes))
        await asyncio.sleep(8)
        for process in [*victims[0].children(recursive=True), victims[0]]:
            process.kill()
        await task

    asyncio.run(killed())
    failed = sum(outcomes.ended.values()) - outcomes.ended["whole"]
    assert outcomes.ended["whole"] > failed
    assert failed <= 20, "more failed than were open"
    for error in outcomes.errors:
        assert '"replica_lost"' in error, error
    service.wait_ready()


def test_a_newer_checkpoint_loses_no_request(service: RunningService, run: Path) -> None:
    before, outcomes = Outcomes(), Outcomes()
    asyncio.run(load(service, 1, _times(1), before))
    _write_checkpoint(run, 2, seed=7)
    deadline = time.monotonic() + 600
    updated = lambda: "\nupdated\n" in service.output.read_text()  # noqa: E731
    asyncio.run(load(service, 4, lambda: not updated() and time.monotonic() < deadline, outcomes))
    assert updated(), service.output.read_text()[-2000:]
    assert set(outcomes.ended) == {"whole"}, (outcomes.ended, outcomes.errors[:3])
    after = Outcomes()
    asyncio.run(load(service, 1, _times(4), after))
    assert after.texts
    assert not after.texts & before.texts, "the old weights still answer"


def _times(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is not None
