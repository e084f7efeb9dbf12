"""What is uploaded with a job, and under which command line it runs there."""

from __future__ import annotations

from pathlib import Path

import pytest

from medray.actors.cluster.jobs import JobState, job_server_address, running_in
from medray.commands import bundle as bundles
from medray.commands.bundle import make_bundle
from medray.commands.job import in_runs_folder
from medray.config.grpo import GrpoJob
from medray.errors import ConfigError

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_code_and_configuration_are_uploaded_and_nothing_else(tmp_path: Path) -> None:
    bundle = make_bundle(ROOT, tmp_path / "job", "jobs/grpo.py", ["num_steps=2"])

    found = names(bundle.folder)
    assert {"jobs/grpo.py", "medray/cli.py", "pyproject.toml"} <= found
    tops = {name.partition("/")[0] for name in found}
    assert tops <= {"jobs", "medray", "pyproject.toml", "serve_configs"}
    assert not any("__pycache__" in name for name in found)
    assert bundle.num_bytes < 4 * 2**20
    assert bundle.arguments == ("num_steps=2",)


@pytest.mark.parametrize("form", ["--config {}", "-c {}", "--config={}"])
def test_a_configuration_from_elsewhere_comes_along(tmp_path: Path, form: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("num_steps: 2\n")

    bundle = make_bundle(ROOT, tmp_path / "job", "jobs/grpo.py", form.format(config).split())

    assert bundle.arguments == tuple(form.format("submitted/mine.yaml").split())
    assert (bundle.folder / "submitted/mine.yaml").read_text() == "num_steps: 2\n"


def test_more_can_be_included(tmp_path: Path) -> None:
    bundle = make_bundle(ROOT, tmp_path / "job", "jobs/grpo.py", [], [Path("tests/support")])
    assert "tests/support/rewards.py" in names(bundle.folder)


@pytest.mark.parametrize(
    ("script", "arguments", "include", "words"),
    [
        ("jobs/gpro.py", [], [], "is not a script"),
        ("/etc/passwd", [], [], "is not a script"),
        ("jobs/grpo.py", ["--config", "absent.yaml"], [], "config file absent.yaml does not exist"),
        ("jobs/grpo.py", [], [Path("absent")], "--include absent"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, script: str, arguments: list[str], include: list[Path], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_bundle(ROOT, tmp_path / "job", script, arguments, include)


def test_an_upload_that_is_too_large_names_its_largest_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match="put data and models on storage"):
        make_bundle(ROOT, tmp_path / "job", "jobs/grpo.py", [])


def test_a_relative_run_folder_goes_where_runs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDRAY_RUNS", "/shared/runs")
    assert in_runs_folder(GrpoJob(out="runs/grpo")).out == "/shared/runs/grpo"
    assert in_runs_folder(GrpoJob(out="mine")).out == "/shared/runs/mine"
    assert in_runs_folder(GrpoJob(out="/elsewhere/run")).out == "/elsewhere/run"
    monkeypatch.delenv("MEDRAY_RUNS")
    assert in_runs_folder(GrpoJob(out="runs/grpo")).out == "runs/grpo"


def job(status: str, exit_code: int | None = None, out: str = "runs/a") -> JobState:
    return JobState("id", status, "", "python jobs/grpo.py", {"out": out}, exit_code)


def test_a_jobs_exit_code_is_its_drivers() -> None:
    assert job("SUCCEEDED", 0).code == 0
    assert job("FAILED", 4).code == 4
    assert job("FAILED").code == 1
    assert job("STOPPED", -15).code == 130


def test_one_job_a_run_folder() -> None:
    assert running_in([job("RUNNING"), job("SUCCEEDED", out="runs/b")], "runs/a") is not None
    assert running_in([job("STOPPED")], "runs/a") is None


def test_the_job_server_is_found_in_the_environment() -> None:
    assert job_server_address({}) == "http://127.0.0.1:8265"
    assert job_server_address({"RAY_ADDRESS": "10.0.0.1:6379"}) == "http://127.0.0.1:8265"
    assert job_server_address({"RAY_API_SERVER_ADDRESS": "http://head:8265"}) == "http://head:8265"
