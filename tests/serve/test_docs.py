"""docs/SERVING.md from top to bottom and the README's requests, as a user types them, on a run of a tiny model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import ROOT
from tests.support.service import TOKEN, free_port, save_tiny_adapter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

BLOCKS = [
    block
    for name in ("docs/SERVING.md", "README.md")
    for block in re.findall(
        r"^```(bash|python)\n(.*?)^```",
        (ROOT / name).read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A working directory with two runs, questions, the served configs and a `medray` command."""
    home = tmp_path_factory.mktemp("home")
    checkpoint = home / "runs/grpo/checkpoints/step_000030"
    shutil.copytree(tiny_model, checkpoint)
    (checkpoint / "trainer_state.json").write_text("{}")
    save_tiny_adapter(tiny_model, home / "runs/derm")
    shutil.copytree(ROOT / "serve_configs", home / "serve_configs")
    rows = [{"id": i, "question": f"question {i}"} for i in range(3)]
    (home / "questions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (home / ".medray").mkdir()
    (home / ".medray/serve_token").write_text(TOKEN)
    (home / "bin").mkdir()
    for name, target in (("medray", "-m medray.cli"), ("python", "")):
        script = home / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {target} "$@"\n')
        script.chmod(0o755)
    return home


def test_every_command_works_as_printed(home: Path) -> None:
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "MEDRAY_SERVE_TOKEN")}  # fmt: skip
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": TOKEN}
    environment["PATH"] = f"{home / 'bin'}:{environment['PATH']}"
    blocks = [(kind, text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")) for kind, text in BLOCKS]
    assert blocks[0] == ("bash", "medray serve runs/grpo\n")
    with (home / "serve.log").open("w") as log:
        server = subprocess.Popen(
            ["medray", "serve", "runs/grpo", "--port", str(port)],
            cwd=home, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait_ready(server, port, home / "serve.log")
        for kind, text in blocks[1:]:
            _run(kind, text, home, environment)
    finally:
        tree = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        try:
            server.wait(120)
        except subprocess.TimeoutExpired:
            server.kill()
        for process in tree:
            if process.is_running():
                process.kill()
    assert len(blocks) >= 11
    assert (home / "models/grpo-4bit/quantisation.json").is_file()
    assert len((home / "answers.jsonl").read_text().splitlines()) == 3
    assert "properties" in json.loads((home / "serve-schema.json").read_text())


def _wait_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready", timeout=10).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def _run(kind: str, text: str, home: Path, environment: dict[str, str]) -> None:
    command = ["bash", "-euo", "pipefail", "-c", text]
    if kind == "python":
        command = [sys.executable, "-c", text]
    done = subprocess.run(
        command, cwd=home, env=environment, input="How is asthma treated?\n/save chat.json\n/quit\n",
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    if "stream" in text:
        assert len(done.stdout.strip()) > 20, text
    if "medray chat" in text:
        assert "saved to chat.json" in done.stdout
        assert len(json.loads((home / "chat.json").read_text())["messages"]) == 2
