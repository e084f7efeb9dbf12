"""Command lines that end early, each in a process that has imported nothing heavy: what they said, loaded and left.

One process imports the command line and all schemas, and forks for every case: a twentieth of a start each.
Run as `python -m tests.support.refusals`: a JSON list of argument lists in, a JSON list of results out.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from medray.commands.check_config import SCHEMAS, job_schema
from tests.support.command import ROOT, medray_here, script_here

NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
"""A hub that refuses connections at once."""
HEAVY = ("torch", "ray", "vllm", "transformers")


@dataclass(frozen=True)
class Refusal:
    """How a command line ended, which heavy libraries it had imported by then, and which files it left."""

    code: int
    stdout: str
    stderr: str
    heavy: tuple[str, ...]
    created: tuple[str, ...]


def refusals(cases: list[list[str]], folder: Path) -> list[Refusal]:
    """Run command lines in `folder`; those whose first word is a script under jobs/ run it, others `medray`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.refusals"], input=json.dumps(cases), cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | NO_HUB, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [
        Refusal(**one | {key: tuple(one[key]) for key in ("heavy", "created")})
        for one in map(json.loads, done.stdout.splitlines())
    ]


def _run(arguments: list[str]) -> Refusal:
    before = _files()
    if arguments[0].startswith("jobs/"):
        outcome = script_here(str(ROOT / arguments[0]), *arguments[1:])
    else:
        outcome = medray_here(*arguments)
    heavy = tuple(name for name in HEAVY if name in sys.modules)
    created = tuple(sorted(_files() - before))
    return Refusal(outcome.code, outcome.stdout, outcome.stderr, heavy, created)


def _files() -> set[str]:
    return {str(path) for path in Path().rglob("*")}


def _main() -> None:
    for name in SCHEMAS:
        job_schema(name)
    importlib.import_module("medray.runs.inputs")
    gc.freeze()  # else every child copies all pages that its first collection marks
    loaded = [name for name in HEAVY if name in sys.modules]
    assert not loaded, f"the command line alone imports {loaded}"
    for arguments in json.load(sys.stdin):
        if (child := os.fork()) == 0:
            print(json.dumps(asdict(_run(arguments))), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, arguments


if __name__ == "__main__":
    _main()
