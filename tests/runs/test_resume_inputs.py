"""A run goes on over the rows and models it was started with, by content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medray.config.data import DataConfig
from medray.data.loading.load import load_dataset
from medray.errors import CheckpointError
from medray.models.adapters.chain import fingerprints
from medray.runs.resume import require_same_inputs
from medray.storage.manifest import write_manifest
from medray.storage.run_folder import forget_run


def rows(path: Path, answer: str) -> dict:
    path.write_text("".join(f'{{"question": "q{i}", "answer": "{answer}"}}\n' for i in range(4)))
    return load_dataset(DataConfig(kind="qa", path=str(path), num_eval=1)).report.provenance()


def test_other_rows_under_the_same_path_are_refused(tmp_path: Path) -> None:
    out, path = tmp_path / "run", tmp_path / "rows.jsonl"
    before = rows(path, "yes")
    write_manifest(out, "{}", seed=1, data=before)

    require_same_inputs(out, before, {})
    require_same_inputs(out, rows(tmp_path / "renamed.jsonl", "yes"), {})
    with pytest.raises(CheckpointError, match=r"rows of .*rows.jsonl differ from those.*sha256"):
        require_same_inputs(out, rows(path, "no"), {})


def test_another_model_under_the_same_path_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    model = shutil.copytree(tiny_model, tmp_path / "model")
    write_manifest(out, "{}", seed=1, data={}, models=fingerprints([str(model)]))

    require_same_inputs(out, {}, fingerprints([str(model)]))
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(CheckpointError, match=f"model {model} of .* differs from the one"):
        require_same_inputs(out, {}, fingerprints([str(model)]))


def test_runs_from_before_inputs_were_recorded_go_on(tmp_path: Path) -> None:
    write_manifest(tmp_path, "{}", seed=1, data={"sha256": "a"})
    require_same_inputs(tmp_path, {"content": "b"}, {"m": "c"})

    write_manifest(tmp_path, "{}", seed=1, data={"content": "a"}, models={"m": "a"}, resume_step=1)
    with pytest.raises(CheckpointError, match="sha256 a, now b"):
        require_same_inputs(tmp_path, {"content": "b"}, {"m": "a"})
    with pytest.raises(CheckpointError, match="model m"):
        require_same_inputs(tmp_path, {"content": "a"}, {"m": "c"})


def test_a_fresh_run_does_not_add_to_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "rollouts").mkdir()
    for name in ("rollouts/step_00001.parquet", "incidents.jsonl", "mine.txt"):
        (tmp_path / name).write_text("old")
    forget_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
