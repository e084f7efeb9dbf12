"""A prepared folder as the rows of a supervised job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medray.config.base import Section
from medray.config.supervised import SupervisedJob
from medray.data.prepared.identity import tokenizer_sha256
from medray.data.prepared.manifest import Manifest, read_manifest
from medray.data.prepared.reader import FOLLOW_S, PreparedTrees, open_prepared
from medray.errors import ConfigError
from medray.learners.methods import METHODS
from medray.learners.supervised import SplitTrees, open_feed, reference_of
from medray.models.tokenizer import load_tokenizer

DECIDED = ("chat", "train", "train_on_prompt", "block_tokens", "append_eos")
"""Settings of a job that its rows were prepared with."""


def open_prepared_rows(
    method: str, job: SupervisedJob
) -> tuple[PreparedTrees, PreparedTrees, str, dict[str, Any]]:
    """Both sides of the folder `data.path`, which may still be prepared; waits for its first shard.

    Returns:
        Training rows, held-out rows, one line for people, and what the run's provenance says.

    Raises:
        ConfigError: the job sets what was decided when the folder was prepared, or its reference cannot be had.
        DataError: the folder was prepared for another stage or tokenizer, or has no row.
        DeadlineExceeded: nobody adds to the folder.
    """
    folder = Path(str(job.data.path)).expanduser().absolute()
    tokenizer = load_tokenizer(job.model)
    manifest = open_prepared(folder, METHODS[method].stage, tokenizer_sha256(tokenizer))
    require_same_settings(job, manifest)
    train, held_out = (PreparedTrees(folder, s, follow_s=FOLLOW_S) for s in ("train", "held_out"))
    reference_of(job, SplitTrees(train, held_out))
    open_feed(method, job, train)
    manifest = read_manifest(folder)
    state = "prepared" if manifest.complete else "still being prepared, so far"
    provenance = {
        "source": str(folder),
        "sha256": manifest.input_sha256,
        "train": sum(shard.num_trees for shard in manifest.side("train")),
        "complete": manifest.complete,
        "prepared_as": manifest.identity,
    }
    return train, held_out, f"{folder}: {state}: {manifest.summary()}", provenance


def require_same_settings(job: SupervisedJob, manifest: Manifest) -> None:
    """Refuse settings that cannot have an effect any more, where the job states them.

    Raises:
        ConfigError: names the key, and what the folder was prepared with.
    """
    data = {k for k in job.data.model_fields_set if getattr(job.data, k) != _default(job.data, k)}
    if ignored := sorted(data - {"path", "kind"}):
        raise ConfigError(
            f"data.{ignored[0]} has no effect on {job.data.path}, which is prepared: remove it, or prepare the "
            "data with it"
        )
    for key in DECIDED:
        if key in job.model_fields_set:
            _compare(key, getattr(job, key), manifest.identity["settings"].get(key))


def _compare(key: str, value: Any, prepared: Any) -> None:
    if isinstance(value, Section):
        for name in value.model_fields_set:
            _compare(f"{key}.{name}", getattr(value, name), prepared.get(name))
    elif value != prepared:
        raise ConfigError(
            f"{key}={value}, but data.path was prepared with {key}={prepared}: remove it, or prepare the data again"
        )


def _default(section: Section, name: str) -> Any:
    return type(section).model_fields[name].get_default(call_default_factory=True)
