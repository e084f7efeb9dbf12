"""A dialogue that the chat template refuses is a bad row: it stops a job by name, or is skipped and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from medray.config.prepare import PrepareJob
from medray.config.sft import SftJob
from medray.data.rendering.prompts import render_prompts
from medray.errors import DataError
from medray.runs.tokenise import tokenise_dataset
from medray.types import Record
from tests.support.prepare import prepare_for

STRICT = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
)
GOOD = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
BAD = [GOOD[0], GOOD[0], GOOD[1]]


@pytest.fixture
def strict_model(tiny_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = STRICT
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=[False, True], ids=["places as ids", "own ids"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"messages": messages} for messages in (GOOD, BAD, GOOD, BAD, GOOD)]
    if request.param:
        lines = [{"id": f"case-{i}", **line} for i, line in enumerate(lines)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _tokenised(model: Path, rows: Path, on_bad_row: str) -> Any:
    data = {"path": str(rows), "num_eval": 0, "on_bad_row": on_bad_row}
    job = SftJob.model_validate(
        {"model": {"path": str(model)}, "data": data, "out": str(rows.parent / "run")}
    )
    return tokenise_dataset("sft", job)


def _prepared(model: Path, rows: Path, on_bad_row: str) -> Any:
    data = {"path": str(rows), "held_out_fraction": 0.0, "on_bad_row": on_bad_row}
    out = str(rows.parent / f"out-{on_bad_row}")
    return prepare_for(
        PrepareJob.model_validate({"out": out, "data": data, "model": {"path": str(model)}})
    )


@pytest.mark.parametrize("read", [_tokenised, _prepared])
def test_it_stops_the_job_naming_file_and_row(
    read: Callable[..., Any], strict_model: Path, rows: Path
) -> None:
    place = rf"{rows.name}:[24]: cannot be rendered: .*rejects this dialogue: roles must alternate"
    with pytest.raises(DataError, match=rf"{place} \(data\.on_bad_row=skip skips such rows\)"):
        read(strict_model, rows, "error")


def test_it_is_skipped_and_counted(strict_model: Path, rows: Path) -> None:
    data = _tokenised(strict_model, rows, "skip")
    assert len(data.train) == 3
    assert data.provenance["skipped"] == {"cannot be rendered": 2}
    assert "dropped 2 (cannot be rendered, e.g. " in data.summary
    manifest = _prepared(strict_model, rows, "skip")
    assert manifest.counts.kept == 3
    assert manifest.dropped["cannot be rendered"].count == 2


def test_a_prompt_is_skipped_and_counted(strict_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(strict_model)
    prompts: list[Any] = [GOOD[:1], BAD[:2]]
    records = [Record(id=f"r{i}", messages=tuple(m)) for i, m in enumerate(prompts)]
    rendered = render_prompts(records, tokenizer, max_prompt_tokens=64, skip_refused=True)
    assert [prompt.record.id for prompt in rendered.prompts] == ["r0"]
    assert rendered.skipped() == "1 of 2 skipped, refused by the chat template (r1)"


def test_lost_thoughts_are_counted(tiny_model: Path, tmp_path: Path) -> None:
    thought = {"role": "assistant", "content": "A", "reasoning": "Why."}
    path = tmp_path / "rows.jsonl"
    rows = [[GOOD[0], thought], [GOOD[0], thought, GOOD[0], thought]]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    model = {"path": str(tiny_model), "template": "qwen3"}
    data = {"path": str(path), "num_eval": 0}
    job = SftJob.model_validate({"model": model, "data": data, "out": str(tmp_path / "run")})
    tokenised = tokenise_dataset("sft", job)
    assert tokenised.provenance["lost_thoughts"] == 1
    assert "1 thoughts of earlier turns left out by the template" in tokenised.summary
    prepare = {
        "out": str(tmp_path / "out"),
        "model": model,
        "data": {"path": str(path), "held_out_fraction": 0.0},
    }
    manifest = prepare_for(PrepareJob.model_validate(prepare))
    assert manifest.counts.lost_thoughts == 1


def test_unclosed_thoughts_are_counted(tiny_model: Path, tmp_path: Path) -> None:
    """Of turns that would be trained: not of those that a message, or train=last, leaves out."""
    opened = {"role": "assistant", "content": "<think>And then"}
    rows = [
        [GOOD[0], opened, *GOOD],
        [GOOD[0], {**opened, "weight": 0}, *GOOD],
        GOOD,
        [GOOD[0], opened],
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    settings = {"model": {"path": str(tiny_model)}, "out": str(tmp_path / "run")}
    data = {"path": str(path), "num_eval": 0}
    job = SftJob.model_validate({**settings, "data": data})
    tokenised = tokenise_dataset("sft", job)
    assert tokenised.provenance["unclosed_thoughts"] == 1
    assert tokenised.provenance["skipped"] == {"nothing trained": 1}
    assert "1 turns with an unclosed thought not trained" in tokenised.summary
    last = tokenise_dataset("sft", job.model_copy(update={"train": "last"}))
    assert last.provenance["unclosed_thoughts"] == 0
    prepare = {
        **settings,
        "out": str(tmp_path / "out"),
        "data": {"path": str(path), "held_out_fraction": 0.0},
    }
    manifest = prepare_for(PrepareJob.model_validate(prepare))
    assert manifest.counts.unclosed_thoughts == 1
    assert "1 turns with an unclosed thought not trained" in manifest.summary()
