"""Modules of the folder one works in: found and built by every command, and uploaded with a submitted job."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from medray.commands import submit
from medray.commands.bundle import make_bundle, own_modules
from medray.config.names import make_importable
from tests.support.command import ROOT, Outcome, assert_one_line, medray_here, script_here

MODULE = """
from helpers_of_mine import LIMIT
from medray.types import GroupScore

class Short:
    low, high, parts = 0.0, 1.0, ()

    def __init__(self, limit: int = LIMIT):
        self.limit = limit

    def score(self, prompt, responses):
        return GroupScore(tuple(float(len(r.text) <= self.limit) for r in responses))

class Nod:
    def reply(self, record, turns):
        return "Go on."

def keep_all(record):
    return None
"""
GRPO = """
data: {kind: icd10}
rewards: [{kind: "rules_of_mine:Short", options: {limit: 5}}]
rollout: {environment: {kind: "rules_of_mine:Nod"}}
"""
MISTAKES = {
    "rewards.0.kind=choicee": "rewards.0.kind=choicee is unknown: did you mean choice?",
    "rewards.0.kind=absent_module:Short": "No module named 'absent_module'",
    "rewards.0.kind=rules_of_mine:Shrt": "rules_of_mine has no Shrt",
    "rewards.0.options.limitt=3": "limitt is not an option of rules_of_mine:Short: did you mean limit?",
    "rollout.environment.kind=intervew": "did you mean interview?",
    "rollout.environment.options.mood=3": "rollout.environment.options.mood is not an option of rules_of_mine:Nod",
    "algorithm.loss=rules_of_mine:absent": "algorithm.loss=rules_of_mine:absent: rules_of_mine has no absent",
    "algorithm.kind=grpoo": "did you mean grpo?",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder outside the repository with two modules and the YAML that names one; the commands run in it."""
    (tmp_path / "rules_of_mine.py").write_text(MODULE)
    (tmp_path / "helpers_of_mine.py").write_text("LIMIT = 3\n")
    (tmp_path / "grpo_mine.yaml").write_text(GRPO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("rules_of_mine", "helpers_of_mine"):
        sys.modules.pop(name, None)


def check(*overrides: str) -> Outcome:
    return medray_here("check-config", "grpo", "grpo_mine.yaml", *overrides)


def dry_run(*overrides: str) -> Outcome:
    return script_here(
        f"{ROOT}/jobs/grpo.py", "--config", "grpo_mine.yaml", "--dry-run", *overrides
    )


@pytest.mark.parametrize("command", [check, dry_run])
@pytest.mark.usefixtures("folder")
def test_a_module_of_the_folder_is_built(command) -> None:
    assert command().code == 0
    assert "rules_of_mine" in sys.modules


@pytest.mark.parametrize("command", [check, dry_run])
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.usefixtures("folder")
def test_a_mistake_is_one_line(command, mistake: str) -> None:
    assert_one_line(command(mistake), 2, MISTAKES[mistake])


@pytest.mark.parametrize(("name", "words"), [
    ("rules_of_mine:keep_all", None), ("rules_of_mine:kep_all", "rules_of_mine has no kep_all"),
])  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_decontaminate_is_built(name: str, words: str | None) -> None:
    Path("prepare_mine.yaml").write_text(f"decontaminate: {name}\n")
    outcome = medray_here("check-config", "prepare", "prepare_mine.yaml")
    if words is None:
        assert outcome.code == 0, outcome
    else:
        assert_one_line(outcome, 2, words)


@pytest.mark.parametrize(
    ("kind", "code", "words"), [("Short", 0, "can be created"), ("Shrt", 2, "has no Shrt")]
)
def test_the_doctor_builds_them(folder: Path, kind: str, code: int, words: str) -> None:
    (folder / "grpo_mine.yaml").write_text(GRPO.replace("Short", kind))
    outcome = medray_here("doctor", "--config", "grpo_mine.yaml", "--only", "plug-ins", "--json")
    assert outcome.code == code, outcome
    assert words in outcome.stdout


def test_a_submitted_job_finds_them_where_it_runs(folder: Path, tmp_path_factory) -> None:
    """Nothing but the upload, medray's own code included, is importable there."""
    arguments = ["--config", "grpo_mine.yaml", "rewards.0.options.limit=4"]
    make_importable(folder)  # as every command line does
    submit._checked_job("jobs/grpo.py", arguments)
    modules = own_modules(folder)
    assert modules == [Path("helpers_of_mine.py"), Path("rules_of_mine.py")]
    target = tmp_path_factory.mktemp("upload")
    project = submit._project(folder)
    bundle = make_bundle(project, target, "jobs/grpo.py", arguments, modules, folder=folder)

    there = subprocess.run(
        [sys.executable, "jobs/grpo.py", *bundle.arguments, "--dry-run"], cwd=target, text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(target)},
    )  # fmt: skip

    assert there.returncode == 0, there.stderr
    assert '"limit": 4' in there.stdout
    assert (target / "medray").is_dir()


def test_nothing_is_uploaded_that_was_not_imported_from_the_folder(tmp_path: Path) -> None:
    for name in ("single.py", "unused.py"):
        (tmp_path / name).touch()
    (tmp_path / "package").mkdir()
    here, package, elsewhere = ModuleType("single"), ModuleType("package"), ModuleType("unused")
    here.__file__ = str(tmp_path / "single.py")
    package.__path__ = [str(tmp_path / "package")]  # a namespace package has no __file__
    elsewhere.__file__ = "/usr/lib/python3/unused.py"

    modules = {"single": here, "package.inner": here, "package": package, "unused": elsewhere}
    assert own_modules(tmp_path, modules) == [Path("package"), Path("single.py")]
