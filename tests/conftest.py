"""Fixtures every test may use."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.tiny import save_tiny_model

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("medray", deadline=None)  # how long an example takes tells of the machine
settings.load_profile("medray")

os.environ["MEDRAY_TUNED"] = str(ROOT / "tests" / "nothing-tuned.json")  # of this machine


RAY_MARKS = ("ray", "slow", "gpu", "cluster")
RAY_CPUS = 3
NOWHERE = "127.0.0.1:1"


def _may_start_ray(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in RAY_MARKS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that need no Ray, as most mistakes show in them.

    Where several processes share the tests, files that start Ray come first: they are the long ones, and the short
    ones fill the gaps they leave.
    """
    items.sort(key=_may_start_ray, reverse="PYTEST_XDIST_WORKER" in os.environ)


def pytest_configure() -> None:
    """Compute with one thread where several processes share the tests: two that each spin on all cores take 1.7 times
    the CPU. What a test starts is as it would be elsewhere."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of the GPU tests in which none ran: a machine without a card must not be green."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.option.markexpr != "gpu" or session.config.option.collectonly or not reporter:
        return
    if not reporter.stats.get("passed") and not reporter.stats.get("failed"):
        reporter.write_line(
            "error: no GPU test ran: this machine has no CUDA device that torch finds"
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _no_ray_unless_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests without the mark `ray` from starting it, in this process and in those they start."""
    if not _may_start_ray(request.node):
        monkeypatch.setenv("RAY_ADDRESS", NOWHERE)


@pytest.fixture(scope="module")
def ray_here(shared_ray: None) -> Iterator[None]:
    """Ray in this process; a module leaves no actor to the next."""
    import ray

    yield
    gc.collect()  # pools and their actors refer to each other, and an actor ends with its last handle
    end = time.monotonic() + 30
    while (free := ray.available_resources().get("CPU", 0)) < RAY_CPUS:
        assert time.monotonic() < end, f"actors were left: {free} of {RAY_CPUS} CPUs are free"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """Ray in this process, started by the first test that asks for it and shared by all that do."""
    import ray

    ray.init(
        num_cpus=RAY_CPUS,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random model with tied embeddings."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def medray_data() -> Path:
    """Folder of real data for local checks; skips where there is none."""
    folder = Path(os.environ.get("MEDRAY_DATA", "data"))
    if not folder.is_dir():
        pytest.skip("MEDRAY_DATA names no folder of real data")
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Folder of the real pretrained model; skips where `medray fetch-model smollm2-135m` was not run."""
    folder = ROOT / "models" / "smollm2-135m"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("models/smollm2-135m is not there: run medray fetch-model smollm2-135m")
    return folder
