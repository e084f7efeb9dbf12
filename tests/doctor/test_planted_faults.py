"""`medray doctor`, run as a user runs it where one thing is wrong: it names that thing and its remedy."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LISTED = "numpy==2.3.5\nruff==0.17.6\n"


@dataclass
class SetUp:
    """One run of the doctor: what its environment, options and process are."""

    folder: Path
    model: Path
    environ: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    wrapper: list[str] = field(default_factory=list)
    preexec: Callable[[], None] | None = None

    def run(self) -> tuple[int, dict[str, dict[str, Any]]]:
        """Exit code, and the findings by check."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "OMP_"))}
        token = self.folder / "token"
        if not token.exists():
            token.write_text("secret")
            token.chmod(0o600)
        environ |= {"PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN_PATH": str(token)} | self.environ
        command = [sys.executable, "-m", "medray.cli", "doctor", "--json", "--quick"]
        command += ["--model", str(self.model)]
        done = subprocess.run(
            [*self.wrapper, *command, *self.options], cwd=self.folder, env=environ, capture_output=True,
            text=True, preexec_fn=self.preexec,
        )  # fmt: skip
        assert done.stdout, done.stderr
        report = json.loads(done.stdout)
        assert report["exit_code"] == done.returncode
        return done.returncode, {f["check"]: f for f in report["findings"]}


@pytest.fixture
def set_up(tmp_path: Path, tiny_model: Path) -> SetUp:
    return SetUp(tmp_path, Path(shutil.copytree(tiny_model, tmp_path / "model")))


def other_version(s: SetUp) -> None:
    """A ray of another version comes first on the path."""
    fake = s.folder / "site" / "ray-2.9.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: ray\nVersion: 2.9.0\n")
    s.environ["PYTHONPATH"] = f"{s.folder / 'site'}:{ROOT}"


def missing_package(s: SetUp) -> None:
    (s.folder / "list.txt").write_text(LISTED + "no-such-package==1.0\n")
    s.options += ["--constraints", str(s.folder / "list.txt")]


def broken_vision(s: SetUp) -> None:
    """A torchvision that breaks when it is imported, as registry builds do beside another torch."""
    package = s.folder / "site" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    info = s.folder / "site" / "torchvision-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.1\n")
    s.environ["PYTHONPATH"] = f"{s.folder / 'site'}:{ROOT}"


def few_files(s: SetUp) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    s.preexec = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))


def small_shm(s: SetUp) -> None:
    """A /dev/shm of 64 MB, Docker's default, in a mount namespace of its own."""
    mount = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'
    s.wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*s.wrapper, "true"], capture_output=True).returncode
    ):
        pytest.skip("this machine lets nobody mount a small /dev/shm")


def full_disk(s: SetUp) -> None:
    """The run folder on a volume of 16 MB."""
    (s.folder / "runs").mkdir()
    mount = f'mount -t tmpfs -o size=16m tmpfs "{s.folder / "runs"}" && exec "$@"'
    s.wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*s.wrapper, "true"], capture_output=True).returncode
    ):
        pytest.skip("this machine lets nobody mount a small volume")


def unknown_interface(s: SetUp) -> None:
    s.environ["GLOO_SOCKET_IFNAME"] = "eth9"


def many_threads(s: SetUp) -> None:
    s.environ["OMP_NUM_THREADS"] = "4096"


def long_tmpdir(s: SetUp) -> None:
    s.environ["RAY_TMPDIR"] = "/tmp/" + "long" * 20


def open_token(s: SetUp) -> None:
    """Everyone may read the token, and walk to it."""
    home = Path("/var/tmp", f"medray-doctor-{os.getpid()}")
    home.mkdir(mode=0o755, exist_ok=True)
    (home / "token").write_text("secret")
    (home / "token").chmod(0o644)
    s.environ["RAY_AUTH_TOKEN_PATH"] = str(home / "token")


def absent_token(s: SetUp) -> None:
    s.environ["RAY_AUTH_TOKEN_PATH"] = str(s.folder / "nowhere")


def no_auth(s: SetUp) -> None:
    s.environ["RAY_AUTH_MODE"] = "disabled"


def dead_cluster(s: SetUp) -> None:
    s.environ["RAY_ADDRESS"] = "http://127.0.0.1:9"


def no_gpu(s: SetUp) -> None:
    config = {
        "model": {"path": str(s.model), "device": "cuda"},
        "workers": {"learner": {"gpus": 1}, "rollout": {"gpus": 1}},
    }
    (s.folder / "grpo_gpu.yaml").write_text(json.dumps(config))
    s.options += ["--config", str(s.folder / "grpo_gpu.yaml")]
    s.environ["PATH"] = "/usr/bin:/bin"


def no_template(s: SetUp) -> None:
    (s.model / "chat_template.jinja").unlink()


def other_eos(s: SetUp) -> None:
    for name in ("config.json", "generation_config.json"):
        path = s.model / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": 1}))


def no_model(s: SetUp) -> None:
    s.model = s.folder / "gone"


CHECKS = {
    "package:ray": "packages", "open-files": "limits", "interface": "interfaces", "disk:runs": "disk",
    "template": "model", "eos": "model",
}  # fmt: skip
"""Finding -> the check that makes it, where the names differ."""

FAULTS = [
    (other_version, "package:ray", 2, "2.9.0"),
    (missing_package, "packages", 1, "no-such-package missing"),
    (broken_vision, "vision", 2, "torchvision::nms"),
    (few_files, "open-files", 2, "256 open files"),
    (small_shm, "shm", 2, "0.06 GiB free"),
    (full_disk, "disk:runs", 2, "0.0 GiB free"),
    (unknown_interface, "interface", 2, "GLOO_SOCKET_IFNAME=eth9"),
    (many_threads, "threads", 1, "OMP_NUM_THREADS=4096"),
    (long_tmpdir, "ray-tmpdir", 2, "characters long"),
    (open_token, "token", 1, "mode 644"),
    (absent_token, "token", 2, "does not exist"),
    (no_auth, "token", 1, "RAY_AUTH_MODE=disabled"),
    (dead_cluster, "cluster", 2, "does not answer"),
    (no_gpu, "gpu", 2, "no GPU"),
    (no_template, "template", 2, "no chat template"),
    (other_eos, "eos", 2, "generation_config.json"),
    (no_model, "model", 2, "no such folder"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "check", "code", "words"), FAULTS, ids=[f[0].__name__ for f in FAULTS]
)
def test_a_planted_fault_is_named(
    set_up: SetUp, plant: Callable[[SetUp], None], check: str, code: int, words: str
) -> None:
    set_up.options += ["--only", CHECKS.get(check, check)]
    plant(set_up)

    exit_code, findings = set_up.run()

    finding = findings[check]
    assert words in finding["what"]
    assert finding["severity"] == {1: "warning", 2: "error"}[code]
    assert finding["why"]
    assert finding["fix"]
    assert exit_code == code


def test_a_sound_set_up_has_none_of_them(set_up: SetUp) -> None:
    _, findings = set_up.run()

    planted = {check for _, check, _, _ in FAULTS} - {"gpu"}
    bad = {
        c: f for c, f in findings.items() if f["severity"] in ("warning", "error") and c in planted
    }
    assert not bad
    assert findings["model"]["severity"] == "ok"
