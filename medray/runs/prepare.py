"""Preparing a dataset: read, tokenise, drop, lay out and write, as far as an interrupted preparation had not come."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medray.actors.cluster.connect import connected
from medray.config.prepare import PrepareJob
from medray.data.batches.examples import build_examples
from medray.data.batches.trees import STEP_LABEL
from medray.data.pipelines.reading import Window, read_windows
from medray.data.pipelines.screening import build_screens
from medray.data.pipelines.shards import ShardWriter
from medray.data.pipelines.stream import stream_tables
from medray.data.pipelines.tokenising import Steps
from medray.data.prepared.identity import first_difference, identity, tokenizer_sha256
from medray.data.prepared.manifest import (
    Manifest,
    is_prepared,
    read_manifest,
    write_manifest,
)
from medray.errors import DataError, ResourceError
from medray.models.tokenizer import load_tokenizer
from medray.observability.console.prepare_progress import PrepareConsole

LOCK_FILE = ".lock"  # stays: removing a lock file that others wait for would split them
COLUMNS = {
    "pt": (),
    "sft": (),
    "preference": ("margin",),
    "kto": ("desirable",),
    "process": (STEP_LABEL,),
}
"""Columns that a stage's continuations have."""


def run_prepare(job: PrepareJob) -> Manifest:
    """Prepare the job's dataset under `job.out`, from the beginning or from where the last attempt stopped.

    Raises:
        DataError: the folder holds another preparation, a row is bad, or no row is left.
    """
    tokenizer = load_tokenizer(job.model)
    manifest = open_folder(job, tokenizer)
    console = PrepareConsole(job.out)
    if manifest.complete:
        console.finish(manifest, resumed=True)
        return manifest
    build_steps(job)  # a mistake in the settings shows here, before any process starts
    if not os.environ.get("MEDRAY_VERBOSE"):
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray warns of its own data actors
    with only_writer(Path(job.out).expanduser()), connected():
        writer = ShardWriter(job, manifest)
        for table in _tables(job, manifest):
            writer.add(table)
            console.show(writer.tally.counts, len(writer.manifest.shards))
    if not writer.manifest.side("train"):
        raise DataError(f"no row is left to train on: {writer.manifest.summary()}")
    console.finish(writer.manifest)
    return writer.manifest


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other preparations out of the folder; the kernel lets go when this process ends, however it does.

    Raises:
        ResourceError: another process is writing there.
    """
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            yield
    except Timeout:
        raise ResourceError(
            f"out={folder} is being prepared by another process: wait for it, or choose another folder"
        ) from None


def open_folder(job: PrepareJob, tokenizer: Any) -> Manifest:
    """The manifest of `job.out`: as an earlier attempt left it, or a new one.

    Raises:
        DataError: the folder was prepared with other settings, or is not to be continued.
    """
    folder = Path(job.out).expanduser()
    fresh = Manifest(
        stage=job.stage, identity=identity(job), tokenizer_sha256=tokenizer_sha256(tokenizer)
    )
    if not is_prepared(folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise DataError(f"out={folder} contains other files: choose an empty or a new folder")
        write_manifest(folder, fresh)
        return fresh
    found = read_manifest(folder)
    if job.resume == "never":
        raise DataError(f"out={folder} exists: remove it, choose another, or set resume=auto")
    change = first_difference(found.identity, fresh.identity)
    if change is None and found.tokenizer_sha256 != fresh.tokenizer_sha256:
        change = "the tokenizer is another one"
    if change is not None:
        raise DataError(
            f"out={folder} was prepared with other settings: {change}; remove the folder, or choose another"
        )
    return found


def build_steps(job: PrepareJob) -> Steps:
    """What a tokenising process does to records; called in each of them."""
    examples = build_examples(job.stage, job, load_tokenizer(job.model))
    screens = build_screens(job.filters, job.decontaminate)
    return Steps(
        job.data, screens, examples, COLUMNS[job.stage], job.duplicates, job.filters.min_tokens
    )


def _tables(job: PrepareJob, manifest: Manifest) -> Iterator[Any]:
    done = manifest.num_windows
    before = Window(manifest.counts.read, manifest.input_sha256) if done else None
    return stream_tables(
        functools.partial(read_windows, job, first=done, before=before),
        functools.partial(build_steps, job),
        workers=job.workers.tokenizer,
        memory_mb=job.memory_mb,
    )
