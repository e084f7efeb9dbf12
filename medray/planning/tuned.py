"""What `medray tune` found for a job on a machine: one JSON file, read whenever such a job starts there.

The file is $MEDRAY_TUNED, or medray/tuned.json in the user's cache folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from medray.config.cores import usable_cores
from medray.config.renamed import present_key
from medray.config.rl import RlJob
from medray.config.rollout import BATCH_TOKENS, BLOCK_TOKENS
from medray.errors import DataError
from medray.storage.atomic import write_text
from medray.system.machine import cpu_model

J = TypeVar("J", bound=RlJob)
Values = Mapping[str, int]

LEARNER_THREADS = "workers.learner.threads"
ROLLOUT_THREADS = "workers.rollout.threads"
BLOCK = "rollout.engine.block_tokens"
BATCH = "rollout.engine.batch_tokens"


@dataclass(frozen=True)
class Situation:
    """What a finding holds for: other machines, models and ways to run have findings of their own."""

    cpu: str
    cores: int
    model: str
    ahead: bool  # generation and training compute at the same time
    learner_ranks: int
    rollout_workers: int

    @classmethod
    def of(cls, job: RlJob) -> Situation:
        """The job's, on this machine."""
        return cls(
            cpu=cpu_model(),
            cores=usable_cores(),
            model=job.model.path,
            ahead=job.rollout.max_lag is not None,
            learner_ranks=job.workers.learner.count,
            rollout_workers=job.workers.rollout.count,
        )


def defaults(job: RlJob) -> dict[str, int]:
    """What is taken where nothing was tuned: all cores in turn, halves of them where both sides compute at once."""
    cores, workers = usable_cores(), job.workers
    learner = rollout = cores
    if job.rollout.max_lag is not None:
        rollout = max(1, cores // 2)
        learner = max(1, cores - rollout)
    return {
        LEARNER_THREADS: max(1, learner // workers.learner.count),
        ROLLOUT_THREADS: max(1, rollout // workers.rollout.count),
        BLOCK: BLOCK_TOKENS,
        BATCH: BATCH_TOKENS,
    }


def settled(job: J) -> tuple[J, str]:
    """The job with a number for each setting that was left to tuning, and what to say about it ("" for nothing).

    A job for GPUs keeps its settings.

    Raises:
        DataError: the file of findings is damaged.
    """
    if job.model.device != "cpu":
        return job, ""
    found = find(Situation.of(job))
    values = defaults(job) | dict(found or {})
    # Threads that are None follow the cores that are reserved.
    open_keys = [
        key for key in values if _value(job, key) == ("auto" if key.endswith("threads") else None)
    ]
    if not open_keys:
        return job, ""
    taken = {key: values[key] for key in open_keys}
    return with_values(job, taken), f"{describe(taken)} (medray tune)" if found else ""


def describe(values: Values) -> str:
    """`key=value`, as they are given on a command line."""
    return " ".join(f"{key}={value}" for key, value in values.items())


def with_values(job: J, values: Mapping[str, Any]) -> J:
    """The job with settings replaced by their dotted names, checked again."""
    plain = job.model_dump(mode="json")
    for key, value in values.items():
        *sections, last = key.split(".")
        place = plain
        for section in sections:
            place = place[section]
        place[last] = value
    return type(job).model_validate_json(json.dumps(plain))


def find(situation: Situation) -> Values | None:
    """What was found for a situation, if anything."""
    for entry in _entries():
        if entry["situation"] == asdict(situation):
            return {present_key(key): value for key, value in entry["values"].items()}
    return None


def keep(situation: Situation, values: Values, measured: Mapping[str, float]) -> Path:
    """Store a finding in the place of an earlier one; returns the file."""
    others = [e for e in _entries() if e["situation"] != asdict(situation)]
    entry = {"situation": asdict(situation), "values": dict(values), "measured": dict(measured)}
    write_text(tuned_file(), json.dumps([*others, entry], indent=2) + "\n")
    return tuned_file()


def tuned_file() -> Path:
    """Path of the tuning results: `$MEDRAY_TUNED`, else `medray/tuned.json` in the user's cache folder."""
    if named := os.environ.get("MEDRAY_TUNED"):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "medray" / "tuned.json"


def _entries() -> list[dict[str, Any]]:
    path = tuned_file()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        for entry in entries:
            assert isinstance(entry["situation"], dict)
            assert all(type(value) is int for value in entry["values"].values())
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError):
        raise DataError(f"{path} is damaged: remove it and run medray tune again") from None
    return entries


def _value(job: RlJob, key: str) -> Any:
    place: Any = job
    for part in key.split("."):
        place = getattr(place, part)
    return place
