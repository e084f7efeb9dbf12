"""Batch inference with real engines on Ray Data: answers do not depend on workers, chunks or interruptions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NUM_ROWS = 24


def _start(model: Path, folder: Path, output: str, *settings: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "medray.cli", "generate", str(model), "in.jsonl", output]
    command += ["sampling.max_new_tokens=12", "max_model_len=512", *settings]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _run(*arguments: Any) -> str:
    process = _start(*arguments)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generate")
    rows = [{"id": i, "question": f"question number {i}"} for i in range(NUM_ROWS)]
    rows[5] = {"id": 5, "question": "too long " * 200}
    lines = [json.dumps(row) for row in rows]
    (folder / "in.jsonl").write_text("\n".join(lines))
    return folder


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_are_the_same_for_other_workers_and_after_a_kill(
    folder: Path, tiny_model: Path
) -> None:
    sampled = ("sampling.temperature=1", "sampling.seed=3")
    printed = _run(tiny_model, folder, "whole.jsonl", "chunk_rows=24", *sampled)
    assert "23 answers, 1 rows with an error" in printed
    whole = _rows(folder / "whole.jsonl")
    assert [row["id"] for row in whole] == list(range(NUM_ROWS))
    assert "tokens" in whole[5]["error"]
    assert len({row["response"] for row in whole}) > NUM_ROWS // 2

    process = _start(tiny_model, folder, "killed.jsonl", "chunk_rows=2", *sampled)
    parts = folder / ".killed.jsonl.parts"
    deadline = time.monotonic() + 400
    while not list(parts.glob("0*.json")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    driver = psutil.Process(process.pid)
    for victim in [*driver.children(recursive=True), driver]:
        victim.kill()
    process.wait()
    num_done = len(list(parts.glob("0*.json")))
    printed = _run(
        tiny_model, folder, "killed.jsonl", "chunk_rows=2", "workers.engine.count=2", *sampled
    )
    if num_done < NUM_ROWS // 2:
        assert f"{2 * num_done} done before" in printed
    assert _rows(folder / "killed.jsonl") == whole
