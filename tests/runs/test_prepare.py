"""`jobs/prepare_data.py` on Ray: the same bytes for any number of workers and after a kill, one-line errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from medray.config.prepare import PrepareJob
from medray.data.prepared.manifest import read_manifest
from medray.data.prepared.reader import PreparedTrees
from medray.errors import DataError, ResourceError
from medray.models.tokenizer import load_tokenizer
from medray.runs.prepare import only_writer, open_folder, run_prepare
from medray.types import Record
from tests.support.prepare import chat_file, contents, prepare_for, prepare_job

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]


def settings(tiny_model: Path, path: Path, **changes: Any) -> dict[str, Any]:
    common: dict[str, Any] = {
        "model": {"path": str(tiny_model)},
        "data": {"path": str(path), "on_bad_row": "skip", "held_out_fraction": 0.05},
        "shards": {"num_rows": 256},
        "duplicates": {"threshold": 0.9},
        "layout": {"kind": "pack", "row_tokens": 2048},
    }
    return common | changes


def job(tiny_model: Path, out: Path, path: Path, **changes: Any) -> PrepareJob:
    given = settings(tiny_model, path, **changes)
    return prepare_job(out, given.pop("data"), **given)


def _tokenizers(count: int) -> dict[str, Any]:
    return {"tokenizer": {"count": count}}


def rows_file(folder: Path, num_rows: int) -> Path:
    path = chat_file(folder / "chats.jsonl", num_rows)
    path.write_text(path.read_text() + "not JSON\n" + path.read_text().partition("\n")[0] + "\n")
    return path


@pytest.mark.usefixtures("ray_here")
def test_the_number_of_workers_changes_no_byte(tiny_model: Path, tmp_path: Path) -> None:
    data = rows_file(tmp_path, 1500)
    for count in (1, 3):
        run_prepare(job(tiny_model, tmp_path / str(count), data, workers=_tokenizers(count)))
    assert contents(tmp_path / "1") == contents(tmp_path / "3")
    manifest = read_manifest(tmp_path / "1")
    assert manifest.counts.read == 1502
    assert {reason: drop.count for reason, drop in manifest.dropped.items()} == {
        "bad JSON": 1,
        "near-duplicate": 1,
    }
    assert len(manifest.side("train")) == 6
    assert (
        len(PreparedTrees(tmp_path / "1")) + len(PreparedTrees(tmp_path / "1", "held_out")) == 1500
    )


def test_a_kill_changes_no_byte(tiny_model: Path, tmp_path: Path) -> None:
    """Only this kills a preparation; the undisturbed one, of the same bytes, is made without Ray."""
    data = rows_file(tmp_path, 6000)
    config = tmp_path / "job.yaml"
    config.write_text(PrepareJob.model_validate(settings(tiny_model, data)).model_dump_json())
    command = [sys.executable, "jobs/prepare_data.py", "--config", str(config)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, f"out={tmp_path / 'out'}"], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    killed = start()
    deadline = time.monotonic() + 200
    while not (tmp_path / "out" / "train-000001.arrow").exists():
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not read_manifest(tmp_path / "out").complete
    process = start()
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output
    assert "is prepared:" in output
    assert "Traceback" not in output
    prepare_for(job(tiny_model, tmp_path / "undisturbed", data))
    with only_writer(tmp_path / "undisturbed"):
        pass  # it leaves its lock, as a preparation does
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


@pytest.mark.usefixtures("ray_here")
def test_a_whole_folder_is_not_prepared_again(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows_file(tmp_path, 20)
    run_prepare(job(tiny_model, tmp_path / "out", data, workers=_tokenizers(1)))
    before = contents(tmp_path / "out")
    run_prepare(job(tiny_model, tmp_path / "out", data, workers=_tokenizers(2)))
    assert "is already prepared: " in capsys.readouterr().out
    assert contents(tmp_path / "out") == before


@pytest.mark.usefixtures("ray_here")
def test_errors_of_other_processes_are_one_line(tiny_model: Path, tmp_path: Path) -> None:
    data = rows_file(tmp_path, 50)
    strict = {"path": str(data), "on_bad_row": "error"}
    with pytest.raises(DataError, match=r"chats\.jsonl:51: bad JSON") as caught:
        run_prepare(job(tiny_model, tmp_path / "a", data, data=strict, workers=_tokenizers(1)))
    assert "\n" not in str(caught.value)
    changes: dict[str, Any] = {
        "decontaminate": f"{__name__}:check",
        "workers": {"tokenizer": {"count": 1}},
    }
    broken = job(tiny_model, tmp_path / "b", data, **changes)
    with pytest.raises(DataError, match="returned 7 for") as caught:
        run_prepare(broken)
    assert "\n" not in str(caught.value)


def check(record: Record) -> int:
    return 7


def test_another_preparation_is_not_written_over(tiny_model: Path, tmp_path: Path) -> None:
    data = rows_file(tmp_path, 5)
    tokenizer = load_tokenizer(job(tiny_model, tmp_path / "out", data).model)
    open_folder(job(tiny_model, tmp_path / "out", data), tokenizer)
    open_folder(
        job(tiny_model, tmp_path / "out", data, workers=_tokenizers(7), memory_mb=64), tokenizer
    )
    with pytest.raises(DataError, match=r"settings\.layout\.kind was \"pack\" and is \"keep\""):
        open_folder(job(tiny_model, tmp_path / "out", data, layout={"kind": "keep"}), tokenizer)
    with pytest.raises(DataError, match="set resume=auto"):
        open_folder(job(tiny_model, tmp_path / "out", data, resume="never"), tokenizer)
    tokenizer.add_tokens(["thrombophlebitis"])
    with pytest.raises(DataError, match="the tokenizer is another one"):
        open_folder(job(tiny_model, tmp_path / "out", data), tokenizer)
    with pytest.raises(DataError, match="contains other files"):
        open_folder(job(tiny_model, tmp_path, data), tokenizer)


def test_one_process_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    with (
        only_writer(tmp_path),
        pytest.raises(ResourceError, match="is being prepared by another process"),
        only_writer(tmp_path),
    ):
        pass
    with only_writer(tmp_path):
        assert list(tmp_path.iterdir())
