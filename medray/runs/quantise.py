"""From a model to a quantised one: measure, write, load what was written, measure again, say what it cost."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medray.config.data import DataConfig
from medray.config.model import ModelConfig
from medray.config.quantise import QuantiseJob
from medray.data.loading.load import Dataset, load_dataset
from medray.data.loading.stages import Stage
from medray.data.rendering.prompts import render_prompts
from medray.errors import DataError, ResourceError
from medray.evaluation.compare import (
    Comparison,
    Predictions,
    Question,
    compare,
    predict,
    questions,
)
from medray.models.quantisation.quantise import (
    dense_source,
    load_measured,
    write_quantised,
)
from medray.models.served import weight_bytes
from medray.models.tokenizer import load_tokenizer
from medray.observability.intervals import Interval
from medray.storage.atomic import write_text
from medray.storage.writable import require_new_folder
from medray.types import TokenIds

RECORD = "quantisation.json"


@dataclass(frozen=True, slots=True)
class Material:
    """What calibrates and what is measured, as tokens, with where it came from."""

    calibration: list[TokenIds]
    documents: list[TokenIds]
    questions: list[Question]
    sha256: Mapping[str, Mapping[str, str]]
    skipped: str = ""  # questions that are too long: how many of how many, and which


def run_quantise(job: QuantiseJob) -> None:
    """Write `job.out` with its record `quantisation.json`, and print what changed.

    Raises:
        ConfigError: the folder exists.
        ModelError: the model cannot be found, loaded or quantised.
        DataError: too few documents or questions, or questions without one right option.
        ResourceError: a GPU is asked for and there is none.
    """
    import torch

    out = Path(job.out)
    require_new_folder(out, "out")
    if job.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device=cuda, but no GPU is visible: set device=cpu")
    with tempfile.TemporaryDirectory(prefix="medray-") as scratch:
        source = dense_source(job, Path(scratch) / "merged")
        tokenizer = load_tokenizer(
            ModelConfig(path=str(source), trust_remote_code=job.trust_remote_code)
        )
        material = read_material(job, tokenizer)
        before = _measured(source, job, material)
        write_quantised(job, source, tokenizer, [ids.tolist() for ids in material.calibration])
        num_bytes = (weight_bytes(source), weight_bytes(out))
    after = _measured(out, job, material)
    changed = compare(before, after)
    _record(job, material, before, after, changed, num_bytes)
    for line in report(job, before, after, changed, num_bytes):
        print(line)
    if material.skipped:
        print(f"questions   {material.skipped}")


def read_material(job: QuantiseJob, tokenizer: Any) -> Material:
    """Documents and questions as tokens."""
    text = _read("text", job.text, "pt")
    tokens = [
        [
            np.asarray(tokenizer(r.text)["input_ids"][: job.max_tokens], dtype=np.int32)
            for r in records
        ]
        for records in (text.train[: job.calibration_rows], text.held_out)
    ]
    calibration, documents = ([ids for ids in side if len(ids) > 1] for side in tokens)
    sha256: dict[str, Mapping[str, str]] = {"text": text.report.digests}
    asked: list[Question] = []
    skipped = ""
    if job.questions.num_eval:
        found = _read("questions", job.questions, "rl")
        limit = job.questions.max_prompt_tokens
        rendered = render_prompts(
            found.held_out, tokenizer, max_prompt_tokens=limit, system=job.questions.system
        )
        asked, skipped = questions(rendered.prompts, tokenizer), rendered.skipped()
        sha256["questions"] = found.report.digests
    return Material(calibration, documents, asked, sha256, skipped.replace("data.", "questions."))


def report(
    job: QuantiseJob,
    before: Predictions,
    after: Predictions,
    changed: Comparison,
    num_bytes: tuple[int, int],
) -> list[str]:
    """What people read at the end; intervals are 95%, those of differences are paired."""
    sizes = [f"{n / 1e6:,.0f} MB" if n else "of the hub" for n in num_bytes]
    lines = [f"{job.method:<11} {job.model} ({sizes[0]}) -> {job.out} ({sizes[1]})"]
    lines.append(
        f"perplexity  {before.documents.perplexity.value:.2f} -> {after.documents.perplexity.value:.2f}, "
        f"{_signed(changed.nats_per_token, 4)} nats a token over {changed.nats_per_token.n} documents"
    )
    if before.accuracy and after.accuracy and changed.accuracy and changed.same_choice:
        lines.append(
            f"accuracy    {before.accuracy.value:.3f} -> {after.accuracy.value:.3f}, "
            f"{_signed(changed.accuracy, 3)} over {changed.accuracy.n} questions, "
            f"{changed.same_choice.value:.0%} of them answered alike"
        )
    return lines


def _measured(source: Path | str, job: QuantiseJob, material: Material) -> Predictions:
    return predict(load_measured(source, job), material.documents, material.questions)


def _read(key: str, config: DataConfig, stage: Stage) -> Dataset:
    try:
        return load_dataset(config, stage=stage)
    except DataError as error:
        raise DataError(str(error).replace("data.", f"{key}.")) from None


def _record(
    job: QuantiseJob,
    material: Material,
    before: Predictions,
    after: Predictions,
    changed: Comparison,
    num_bytes: tuple[int, int],
) -> None:
    def side(found: Predictions, size: int) -> dict[str, Any]:
        accuracy = found.accuracy
        return {
            "weight_bytes": size or None,
            "perplexity": found.documents.perplexity.value,
            "accuracy": asdict(accuracy) if accuracy else None,
        }

    found = {
        "job": job.model_dump(mode="json"),
        "sha256": {key: dict(found) for key, found in material.sha256.items()},
        "num_calibration": len(material.calibration),
        "skipped_questions": material.skipped or None,
        "before": side(before, num_bytes[0]),
        "after": side(after, num_bytes[1]),
        "change": asdict(changed),
    }
    write_text(Path(job.out) / RECORD, json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def _signed(interval: Interval, digits: int) -> str:
    value, low, high = (f"{x:+.{digits}f}" for x in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"
