"""Preparations small enough for a test, with and without Ray."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from medray.config.prepare import PrepareJob
from medray.data.batches.examples import build_examples
from medray.data.pipelines.reading import Window, read_windows
from medray.data.pipelines.screening import build_screens
from medray.data.pipelines.shards import ShardWriter
from medray.data.pipelines.tokenising import Steps, TokeniseRows
from medray.data.prepared.manifest import Manifest, is_prepared, read_manifest
from medray.models.tokenizer import load_tokenizer
from medray.runs.prepare import COLUMNS, build_steps, open_folder
from tests.support.chats import byte_tokenizer

WORDS = (
    "fever",
    "cough",
    "pain",
    "dose",
    "daily",
    "blood",
    "heart",
    "chest",
    "acute",
    "kidney",
    "skin",
    "rash",
    "virus",
    "rest",
    "water",
    "diet",
)
TOKENIZER = byte_tokenizer("<|im_start|>", eos="<|im_end|>")


def chat_file(path: Path, num_rows: int, *, seed: int = 0) -> Path:
    """Chats of random words, one a line."""
    rng = random.Random(seed)

    def words(low: int, high: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(low, high)))

    with path.open("w", encoding="utf-8") as stream:
        for number in range(num_rows):
            turns = [
                {"from": "human", "value": f"{number}: {words(3, 12)}?"},
                {"from": "gpt", "value": words(5, 30)},
            ]
            stream.write(json.dumps({"conversations": turns}) + "\n")
    return path


def prepare_job(out: Path, data: Any, **changes: Any) -> PrepareJob:
    """A job with shards of 16 rows; `changes` are top-level keys."""
    settings = {"out": str(out), "data": data, "shards": {"num_rows": 16}} | changes
    return PrepareJob.model_validate(settings)


def local_steps(job: PrepareJob) -> Steps:
    """What is done to records, with a tokenizer of bytes."""
    return Steps(
        job.data,
        build_screens(job.filters, job.decontaminate),
        build_examples(job.stage, job, TOKENIZER),
        COLUMNS[job.stage],
        job.duplicates,
        job.filters.min_tokens,
    )


def local_tables(job: PrepareJob, manifest: Manifest, piece_rows: int = 7) -> Iterator[pa.Table]:
    """The stream of a preparation in this process, cut into pieces of another size than it was read in."""
    done = manifest.num_windows
    before = Window(manifest.counts.read, manifest.input_sha256) if done else None
    tokenise = TokeniseRows(lambda: local_steps(job))
    for table in read_windows(job, first=done, before=before):
        for start in range(0, len(table), piece_rows):
            yield tokenise(table.slice(start, piece_rows))


def fresh_manifest(job: PrepareJob) -> Manifest:
    """Of a folder that holds nothing yet."""
    return Manifest(stage=job.stage, identity={"model": {"path": "bytes"}}, tokenizer_sha256="")


def prepare_here(job: PrepareJob, tables: Iterable[pa.Table] | None = None) -> Manifest:
    """Prepare without Ray, going on where the folder stops."""
    folder = Path(job.out)
    manifest = read_manifest(folder) if is_prepared(folder) else fresh_manifest(job)
    if manifest.complete:
        return manifest
    writer = ShardWriter(job, manifest)
    for table in tables if tables is not None else local_tables(job, manifest):
        writer.add(table)
    return writer.manifest


def prepare_for(job: PrepareJob, pause: Callable[[int], None] = lambda window: None) -> Manifest:
    """All of a preparation but Ray; `pause` is called with the number of every window before it is written."""
    manifest = open_folder(job, load_tokenizer(job.model))
    tokenise = TokeniseRows(lambda: build_steps(job))
    writer = ShardWriter(job, manifest)
    for table in read_windows(job):
        for window in sorted(set(table.column("window").to_pylist())):
            pause(window)
        writer.add(tokenise(table))
    return writer.manifest


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
