"""Batch inference from file to file, the engines replaced by an echo: order, ids, resumption, errors, provenance."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medray.actors.inference.batch import Chunk
from medray.config.generate import GenerateJob, PromptConfig
from medray.data.prompts import dialogue
from medray.errors import ConfigError, DataError, WorkerLost
from medray.runs import generate


class Echo:
    """Answers with the prompt's text; dies after `dies_after` chunks."""

    def __init__(self) -> None:
        self.chunks: list[int] = []
        self.dies_after: int | None = None

    def __call__(self, job: GenerateJob, model: object, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
        for done, chunk in enumerate(reversed(chunks)):  # workers end in any order
            if done == self.dies_after:
                raise WorkerLost("gone")
            self.chunks.append(chunk.number)
            yield Chunk(chunk.number, tuple(self._answer(job, row) for row in chunk.rows))

    def _answer(self, job: GenerateJob, row: dict[str, Any]) -> dict[str, Any]:
        result = {"id": row["id"], "sample": 0, "row": row["row"], "error": row["error"]}
        result |= {"response": None, "finish_reason": None}
        result |= {"num_prompt_tokens": 0, "num_new_tokens": 0}
        if result["error"] is None:
            try:
                text = dialogue(row["row"], job.prompts)[-1]["content"]
                result |= {"response": f"echo {text}", "finish_reason": "stop", "num_new_tokens": 2}
            except DataError as error:
                result["error"] = str(error)
        return result


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    engine = Echo()
    monkeypatch.setattr(generate, "answer_chunks", engine)
    monkeypatch.setattr(generate, "connected", contextlib.nullcontext)
    return engine


def _job(tmp_path: Path, model: Path, **settings: Any) -> GenerateJob:
    defaults = {"input": str(tmp_path / "in.jsonl"), "output": str(tmp_path / "out.jsonl")}
    return GenerateJob.model_validate(
        {"model": str(model), "chunk_rows": 3, **defaults, **settings}
    )


def _input(tmp_path: Path, count: int = 10) -> None:
    rows = [{"id": f"row-{i}", "question": f"q{i}", "extra": [i]} for i in range(count)]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_order_and_ids_are_the_inputs(tmp_path: Path, tiny_model: Path, echo: Echo) -> None:
    _input(tmp_path)
    generate.run_generate(_job(tmp_path, tiny_model))
    rows = _rows(tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == [f"row-{i}" for i in range(10)]
    assert [row["response"] for row in rows] == [f"echo q{i}" for i in range(10)]
    assert rows[7]["row"] == {"id": "row-7", "question": "q7", "extra": [7]}
    record = json.loads((tmp_path / "out.jsonl.provenance.json").read_text())
    assert record["counts"] == {"rows": 10, "answers": 10, "errors": 0, "new_tokens": 20}
    assert record["job"]["sha256"]
    assert not list(tmp_path.glob(".*parts"))


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_a_lone_surrogate_is_an_error_of_its_row_alone(
    tmp_path: Path, tiny_model: Path, echo: Echo, name: str
) -> None:
    _input(tmp_path, 4)
    lines = (tmp_path / "in.jsonl").read_text().splitlines()
    lines[1] = '{"id": "row-1", "question": "\\ud800 q1", "extra": ["\\ud83d\\ude00"]}'
    lines[2] = '{"id": "row-2", "question": "q2", "extra": {"\\udfff": 1}}'
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    output = tmp_path / name
    generate.run_generate(_job(tmp_path, tiny_model, output=str(output)))
    rows = pq.read_table(output).to_pylist() if name.endswith("parquet") else _rows(output)
    assert [row["response"] for row in rows] == ["echo q0", None, None, "echo q3"]
    assert "question holds a lone surrogate" in rows[1]["error"]
    assert "lone surrogate" in rows[2]["error"]
    if name.endswith("jsonl"):
        assert rows[1]["row"]["question"] == "\ufffd q1"
        assert rows[1]["row"]["extra"] == ["\U0001f600"]


def test_parts_with_a_lone_surrogate_do_not_spoil_the_rerun(
    tmp_path: Path, tiny_model: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    _input(tmp_path, 3)
    monkeypatch.setattr(generate, "unwritable_place", lambda _: None)  # as earlier versions did
    (tmp_path / "in.jsonl").write_text('{"id": "a", "question": "\\ud800"}\n{"question": "b"}\n')
    generate.run_generate(_job(tmp_path, tiny_model))
    assert [row["response"] for row in _rows(tmp_path / "out.jsonl")] == ["echo \ufffd", "echo b"]


def test_an_interrupted_run_goes_on(tmp_path: Path, tiny_model: Path, echo: Echo) -> None:
    _input(tmp_path)
    echo.dies_after = 2
    with pytest.raises(WorkerLost):
        generate.run_generate(_job(tmp_path, tiny_model))
    assert not (tmp_path / "out.jsonl").exists()
    echo.dies_after = None
    generate.run_generate(_job(tmp_path, tiny_model, workers={"engine": {"count": 4}}))
    assert sorted(echo.chunks) == [0, 1, 2, 3], "a chunk was done twice"
    assert len(_rows(tmp_path / "out.jsonl")) == 10


def test_a_complete_output_is_left_alone(
    tmp_path: Path, tiny_model: Path, echo: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    _input(tmp_path)
    generate.run_generate(_job(tmp_path, tiny_model))
    echo.chunks.clear()
    generate.run_generate(_job(tmp_path, tiny_model))
    assert not echo.chunks
    assert "complete already" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="exists"):
        generate.run_generate(_job(tmp_path, tiny_model, sampling={"max_new_tokens": 7}))


def test_parts_of_another_job_are_not_mixed_in(tmp_path: Path, tiny_model: Path, echo: Echo) -> None:  # fmt: skip
    _input(tmp_path)
    echo.dies_after = 1
    with pytest.raises(WorkerLost):
        generate.run_generate(_job(tmp_path, tiny_model))
    with pytest.raises(ConfigError, match="other settings, input or weights"):
        generate.run_generate(_job(tmp_path, tiny_model, sampling={"max_new_tokens": 7}))


def test_errors_stay_with_their_rows(tmp_path: Path, tiny_model: Path, echo: Echo) -> None:
    lines = ['{"question": "good"}', "{broken", '{"other": 1}', '{"messages": [{"role": "x"}]}']
    lines += ['{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}']  # fmt: skip
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    generate.run_generate(_job(tmp_path, tiny_model))
    rows = _rows(tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == [f"in.jsonl:{n}" for n in range(1, 6)]
    assert rows[0]["error"] is None
    for row, said in zip(rows[1:], ("bad JSON", "no prompt", "messages[0]", "drop_answer"), strict=True):  # fmt: skip
        assert said in row["error"]
        assert row["response"] is None


def test_nothing_answered_is_a_failure(tmp_path: Path, tiny_model: Path, echo: Echo) -> None:
    (tmp_path / "in.jsonl").write_text('{"other": 1}\n')
    with pytest.raises(DataError, match="no row"):
        generate.run_generate(_job(tmp_path, tiny_model))


def test_parquet_in_and_out(tmp_path: Path, tiny_model: Path, echo: Echo) -> None:
    import pyarrow as pa

    table = pa.table({"id": [5, 6], "prompt": ["a", "b"]})
    pq.write_table(table, tmp_path / "in.parquet")
    job = _job(
        tmp_path, tiny_model, input=str(tmp_path / "in.parquet"), output=str(tmp_path / "o.parquet")
    )
    generate.run_generate(job)
    found = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert [(row["id"], row["response"]) for row in found] == [("5", "echo a"), ("6", "echo b")]
    assert json.loads(found[0]["row"]) == {"id": 5, "prompt": "a"}


@pytest.mark.parametrize(
    ("row", "settings", "expected"),
    [
        ({"prompt": "p"}, {}, [("user", "p")]),
        ({"instruction": "i", "input": "x"}, {}, [("user", "i\nx")]),
        ({"text": "t"}, {"key": "text"}, [("user", "t")]),
        ({"prompt": "p"}, {"system": "s"}, [("system", "s"), ("user", "p")]),
        (
            {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]},
            {"drop_answer": True},
            [("user", "u")],
        ),
    ],
)
def test_rows_become_dialogues(row: Any, settings: Any, expected: Any) -> None:
    messages = dialogue(row, PromptConfig.model_validate(settings))
    assert [(m["role"], m["content"]) for m in messages] == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"output": "x.csv"}, "jsonl"),
        ({"sampling": {"samples": 2}}, "temperature above 0"),
        ({"device": "cuda"}, "workers.engine.gpus"),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _job(tmp_path, tmp_path, **settings)
