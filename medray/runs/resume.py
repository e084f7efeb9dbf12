"""Where a run continues from, and whether it is still the same run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medray.config.base import Section
from medray.config.renamed import with_present_names
from medray.config.rl import RlJob
from medray.config.run import CheckpointConfig
from medray.config.supervised import SupervisedJob
from medray.errors import CheckpointError
from medray.storage.manifest import read_provenance
from medray.storage.run_folder import checkpoints, load_scalars

MAY_CHANGE = (
    "out",
    "workers",
    "learner",
    "logging",
    "checkpoint",
    "evaluation",
    "deadlines",
    "sync",
)
RL_MAY_CHANGE = (*MAY_CHANGE, "mirror", "num_steps", "no_signal_patience", "rollout.engine")
SUPERVISED_MAY_CHANGE = (*MAY_CHANGE, "merge", "batch.num_steps", "batch.num_epochs")


@dataclass(frozen=True)
class Resume:
    """The newest whole checkpoint of a run."""

    checkpoint: Path
    step: int
    scalars: Mapping[str, Any]  # everything the driver saved

    @property
    def prompt_position(self) -> int:
        """The first prompt of the stream that is not done with."""
        return int(self.scalars["prompt_position"])

    @property
    def prompts_ahead(self) -> tuple[int, ...]:
        """Positions after that one which were trained on before it."""
        return tuple(self.scalars.get("prompts_ahead", ()))


def find_resume(job: RlJob) -> Resume | None:
    """The checkpoint to continue from, or None for a fresh run.

    Raises:
        CheckpointError: the folder holds a run with other settings, a finished one, or one that must not be resumed.
    """
    newest = newest_checkpoint(job, job.out, job.checkpoint, RL_MAY_CHANGE)
    if newest is None:
        return None
    scalars = load_scalars(newest)
    if scalars["step"] >= job.num_steps:
        raise CheckpointError(
            f"{job.out} finished at step {scalars['step']}: raise num_steps to continue, or choose another out="
        )
    return Resume(newest, scalars["step"], scalars)


def require_unfinished(job: SupervisedJob, num_steps: int | None = None) -> None:
    """Refuse a supervised run that cannot go on from its folder; `num_steps` is given once it is known.

    Raises:
        CheckpointError: as `find_resume`.
    """
    newest = newest_checkpoint(job, job.out, job.checkpoint, SUPERVISED_MAY_CHANGE)
    if newest is None:
        return
    scalars = load_scalars(newest)
    step = scalars["step"]
    if num_steps is not None and step >= num_steps:
        raise CheckpointError(
            f"{job.out} finished at step {step}: raise batch.num_epochs to continue, or choose another out="
        )
    if scalars["done"] and scalars["selection"]["num_stale"] and job.selection.patience is not None:
        raise CheckpointError(
            f"{job.out} stopped early at step {step}: raise selection.patience to continue, or choose another out="
        )


def require_same_inputs(
    out: str | Path, data: Mapping[str, Any], models: Mapping[str, str]
) -> None:
    """Refuse to continue a run on other rows or models than it was started with, whatever their paths.

    Args:
        out: run folder, with a checkpoint.
        data: provenance of the rows, with their `content` digest where they were read from files.
        models: fingerprint of every model that is loaded, by path.

    Raises:
        CheckpointError: names what changed.
    """
    starts = read_provenance(out)
    if not starts:
        return
    before = starts[-1]
    known = before.get("data", {}).get("content")
    if known and data.get("content", known) != known:
        raise CheckpointError(
            f"data of {out}: the rows of {data.get('source')} differ from those the run was trained on (sha256 "
            f"{known[:12]}, now {data['content'][:12]}): restore the file, or choose another out="
        )
    for path, print_ in models.items():
        earlier = before.get("models", {}).get(path)
        if earlier and earlier != print_:
            raise CheckpointError(
                f"model {path} of {out} differs from the one the run was trained with (sha256 {earlier[:12]}, now "
                f"{print_[:12]}): restore the folder, or choose another out="
            )


def newest_checkpoint(
    job: Section, out: str, config: CheckpointConfig, may_change: Sequence[str]
) -> Path | None:
    """The newest whole checkpoint under `out`, once it is clear that `job` may continue it.

    Args:
        job: what is asked for now.
        out: the run folder.
        config: its checkpoint settings.
        may_change: keys, dotted where nested, that may differ from those the run began with.

    Raises:
        CheckpointError: the folder holds a run with other settings, or one that must not be resumed.
    """
    found = checkpoints(Path(out))
    if not found:
        return None
    if config.resume == "never":
        raise CheckpointError(
            f"{out} already holds a run: choose another out=, or checkpoint.resume=auto to continue it"
        )
    _require_same_settings(Path(out), job, may_change)
    return found[-1]


def _require_same_settings(out: Path, job: Section, may_change: Sequence[str]) -> None:
    try:
        read = json.loads((out / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        raise CheckpointError(
            f"{out} has checkpoints but no readable config.json: choose another out="
        ) from None
    before, now = _with_defaults(type(job), read), job.model_dump(mode="json")
    for key, old, new in _differences(before, now):
        if not any(key == name or key.startswith(f"{name}.") for name in may_change):
            raise CheckpointError(
                f"{out} was trained with {key}={old}, but this config has {new}: restore the old value, or "
                "choose another out="
            )


def _with_defaults(schema: type[Section], settings: dict[str, Any]) -> dict[str, Any]:
    """The settings under the names and with the keys of today: one that was not there had its default's effect."""
    try:
        present = with_present_names(schema, settings).settings
        return schema.model_validate(present).model_dump(mode="json")
    except ValidationError:
        return settings


def _differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _differences(
                before.get(name), now.get(name), f"{key}.{name}" if key else name
            )
    elif before != now:
        yield key, before, now
