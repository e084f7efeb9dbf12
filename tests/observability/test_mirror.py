"""A run folder's copy: whole checkpoints only, the newest ones, and a run that continues from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medray.errors import CheckpointError, ConfigError, ResourceError
from medray.observability.mirror import MARKER, Mirror


def checkpoint(out: Path, step: int) -> Path:
    folder = out / "checkpoints" / f"step_{step:06d}"
    (folder / "inner").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(step))
    (folder / "inner" / "file").write_text("x")
    (folder / MARKER).write_text(json.dumps({"step": step}))
    return folder


@pytest.fixture(params=["file", "memory"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> Mirror:
    """On a folder, and on a store of objects without folders."""
    name = request.node.name.replace("[", "-").replace("]", "")
    url = f"file://{tmp_path}/copy" if request.param == "file" else f"memory://{name}"
    return Mirror(url, tmp_path / "run")


def test_a_run_whose_folder_is_gone_continues_from_the_copy(mirror: Mirror) -> None:
    out = mirror.out
    for step in (2, 4, 6):
        mirror.push_checkpoint(checkpoint(out, step), keep_last=2)
    (out / "metrics.jsonl").write_text("{}\n")
    mirror.push_run_files()
    shutil.rmtree(out)

    assert mirror.fetch_run() == "step_000006"

    assert (out / "metrics.jsonl").read_text() == "{}\n"
    folder = out / "checkpoints" / "step_000006"
    assert (folder / "model.safetensors").read_bytes() == bytes(6)
    assert (folder / "inner" / "file").read_text() == "x"
    assert mirror.checkpoints() == ["step_000004", "step_000006"]
    assert mirror.fetch_run() is None, "what is here is not older"


def test_half_a_checkpoint_does_not_count(mirror: Mirror) -> None:
    mirror.push_checkpoint(checkpoint(mirror.out, 2), keep_last=2)
    half = checkpoint(mirror.out, 4)
    (half / MARKER).unlink()
    for path in half.iterdir():
        if path.is_file():
            mirror.push(path)
    shutil.rmtree(mirror.out)

    assert mirror.fetch_run() == "step_000002"
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        mirror.fetch_checkpoint("step_000004")


def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "run", 2)
    (tmp_path / "copy").write_text("a file in the way")
    with pytest.raises(ResourceError, match="mirror=file://"):
        Mirror(f"file://{tmp_path}/copy", tmp_path / "run").push_checkpoint(folder, keep_last=1)


def test_a_kind_of_storage_without_its_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mirror=nothing://"):
        Mirror("nothing://bucket", tmp_path)
