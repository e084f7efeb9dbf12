"""Batch inference from a file to a file: plan the chunks, answer those that are missing, put them together in order."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medray.actors.cluster.connect import connected
from medray.actors.inference.batch import Chunk, answer_chunks
from medray.config.data import FileConfig
from medray.config.generate import GenerateJob
from medray.data.answers import write_answers
from medray.data.files.find import find_files
from medray.data.files.reading import read_raw
from medray.data.source import RowError
from medray.errors import ConfigError, DataError
from medray.models.served import Model, find_model
from medray.observability.console.batch_progress import BatchProgress
from medray.storage.atomic import write_text
from medray.storage.unicode import unwritable_place, writable

SETTINGS_THAT_MAY_DIFFER = ("workers", "engine", "output")
"""Answers do not depend on these, so a resumed job may change them."""


@dataclass(slots=True)
class ChunkedInput:
    """The whole input in chunks, and what identifies the job."""

    chunks: list[Chunk]
    num_rows: int
    identity: dict[str, Any]
    parts: Path
    digests: dict[str, str] = field(default_factory=dict[str, str])

    def part(self, number: int) -> Path:
        """The file of a chunk's answers; it exists once they are whole."""
        return self.parts / f"{number:06d}.json"


def run_generate(job: GenerateJob) -> None:
    """Answer every row of `job.input` into `job.output`, continuing an interrupted run.

    Raises:
        ConfigError: the output exists already, or holds parts of another job.
        DataError: there is no input, or not one row of it could be answered.
        ModelError: the model cannot be found or loaded.
    """
    model = find_model(job.model)
    work = read_input(job, model)
    output, record = Path(job.output), provenance_path(job)
    if output.exists():
        if record.is_file() and json.loads(record.read_text())["job"] == work.identity:
            print(f"{output} is complete already")
            return
        raise ConfigError(f"output={output} exists: remove it, or choose another")
    claim_parts(work)
    missing = [chunk for chunk in work.chunks if not work.part(chunk.number).is_file()]
    progress = BatchProgress(work.num_rows)
    done = [chunk for chunk in work.chunks if work.part(chunk.number).is_file()]
    progress.header(job.model, job.input, sum(len(c.rows) for c in done))
    started = time.monotonic()
    if missing:
        with connected():
            for answered in answer_chunks(job, model, missing):
                write_text(work.part(answered.number), json.dumps(answered.rows))
                progress.add(answered.rows)
    progress.close()
    finish(job, work, seconds=time.monotonic() - started)


def read_input(job: GenerateJob, model: Model) -> ChunkedInput:
    """Read the input once: its rows in chunks, its digest, and the job's identity."""
    digests: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for position, raw in enumerate(_raw_rows(job, digests)):
        fields, fault = raw.fields, None
        if isinstance(fields, RowError):
            fields, fault = {}, f"{fields.reason}: {fields.detail}"
        elif place := unwritable_place(fields):
            # Said here, by its row: the model could not read it, nor the output hold it.
            fields, fault = writable(fields), f"{place} holds a lone surrogate, which is not text"
        given = fields.get(job.prompts.id_key)
        name = raw.id if given is None else given
        rows.append({"position": position, "id": name, "row": fields, "error": fault})
    chunks = [
        Chunk(number, tuple(rows[start : start + job.chunk_rows]))
        for number, start in enumerate(range(0, len(rows), job.chunk_rows))
    ]
    settings = job.model_dump(mode="json", exclude=set(SETTINGS_THAT_MAY_DIFFER))
    identity = {**settings, "weights": _fingerprint(model), "sha256": digests}
    parts = Path(job.output).with_name(f".{Path(job.output).name}.parts")
    return ChunkedInput(chunks, len(rows), identity, parts, digests)


def claim_parts(work: ChunkedInput) -> None:
    """Create the folder of parts, or check that the existing one belongs to this job.

    Raises:
        ConfigError: it holds parts of another job.
    """
    mark = work.parts / "job.json"
    if mark.is_file():
        if json.loads(mark.read_text()) != work.identity:
            raise ConfigError(
                f"{work.parts} contains answers from other settings, input or weights: remove it to start over"
            )
        return
    write_text(mark, json.dumps(work.identity))


def finish(job: GenerateJob, work: ChunkedInput, *, seconds: float) -> None:
    """Put the parts together in the input's order, with a record of how they were made beside them."""
    counts = {"rows": work.num_rows, "answers": 0, "errors": 0, "new_tokens": 0}
    examples: list[str] = []

    def results() -> Iterator[dict[str, Any]]:
        for chunk in work.chunks:
            for row in json.loads(work.part(chunk.number).read_text(encoding="utf-8")):
                failed = row["error"] is not None
                counts["errors" if failed else "answers"] += 1
                counts["new_tokens"] += row["num_new_tokens"]
                if failed and len(examples) < 5:
                    examples.append(f"{row['id']}: {row['error']}")
                yield writable(row)  # parts of an earlier version may hold what no file can

    output = Path(job.output)
    write_answers(output, results())
    record = {"job": work.identity, "counts": counts, "seconds": round(seconds, 1)}
    write_text(provenance_path(job), json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    shutil.rmtree(work.parts)
    print(f"{output}: {counts['answers']} answers, {counts['errors']} rows with an error")
    for example in examples:
        print(f"  {example}")
    if not counts["answers"]:
        raise DataError(f"no row of {job.input} could be answered: {examples[0]}")


def provenance_path(job: GenerateJob) -> Path:
    """The record beside the output."""
    return Path(f"{job.output}.provenance.json")


def _raw_rows(job: GenerateJob, digests: dict[str, str]) -> Iterator[Any]:
    for file in find_files(FileConfig(path=job.input)):
        yield from read_raw(file, digests)


def _fingerprint(model: Model) -> str:
    """Changes when a file of the model does; a hub id stands for itself."""
    folders = [Path(model.source), *(adapter.folder for adapter in model.adapters)]
    digest = hashlib.sha256(model.source.encode())
    for folder in folders:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            facts = path.stat()
            digest.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
