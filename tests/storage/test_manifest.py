"""The manifest says what ran, on what, and from which code."""

import json
import shutil
import subprocess
import sys

import pytest

import medray
from medray.config.grpo import GrpoJob
from medray.config.loader import dump_config
from medray.storage.manifest import (
    git_state,
    package_versions,
    read_provenance,
    write_manifest,
)
from medray.system.machine import describe_machine


def test_config_and_provenance(tmp_path):
    config = GrpoJob(num_steps=3)
    data = {"records": 4096, "sha256": "ab" * 32}
    start = write_manifest(tmp_path, dump_config(config), seed=17, data=data, grader="choice v1")
    assert GrpoJob.model_validate_json((tmp_path / "config.json").read_text()) == config
    (read,) = json.loads((tmp_path / "provenance.json").read_text())["starts"]
    assert read == start
    assert read["medray"] == medray.__version__
    assert read["seed"] == 17
    assert read["data"] == data
    assert read["grader"] == "choice v1"
    assert read["command"] == sys.argv
    assert read["python"] == sys.version.split()[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "provenance.json"]


def test_a_resumed_run_keeps_its_earlier_starts_and_a_fresh_one_does_not(tmp_path):
    for seed, resume_step in ((1, None), (2, 3), (3, 6)):
        write_manifest(tmp_path, "{}\n", seed=seed, data={}, resume_step=resume_step)
    starts = read_provenance(tmp_path)
    assert [(start["seed"], start["resume_step"]) for start in starts] == [
        (1, None),
        (2, 3),
        (3, 6),
    ]
    write_manifest(tmp_path, "{}\n", seed=4, data={})
    assert [start["seed"] for start in read_provenance(tmp_path)] == [4]


@pytest.mark.parametrize("damage", ["", "[]", "{}", "{"])
def test_damaged_provenance_reads_as_none(tmp_path, damage):
    (tmp_path / "provenance.json").write_text(damage)
    assert read_provenance(tmp_path) == []
    assert read_provenance(tmp_path / "nowhere") == []


def test_package_versions_skip_what_is_missing():
    import numpy as np

    assert package_versions(("numpy", "no-such-package-here")) == {"numpy": np.__version__}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_commit_and_dirty_flag(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert git_state(tmp_path) is None
    git("init", "-q")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "code.py").write_text("x = 1\n")
    assert git_state(tmp_path / "pkg") is None
    git("add", ".")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert git_state(tmp_path / "pkg") == {"commit": commit, "dirty": False}
    (tmp_path / "untracked").touch()
    assert git_state(tmp_path / "pkg") == {"commit": commit, "dirty": False}
    (tmp_path / "pkg" / "code.py").write_text("x = 2\n")
    assert git_state(tmp_path / "pkg") == {"commit": commit, "dirty": True}


def test_machine_is_described_with_builtins():
    machine = describe_machine()
    assert json.loads(json.dumps(machine)) == machine
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0.1
    assert machine["cpu"]
    assert isinstance(machine["gpus"], list)
