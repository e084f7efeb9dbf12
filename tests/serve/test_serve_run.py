"""`serve run serve_configs/chat_cpu.yaml` with the real model, driven through the official client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from openai import OpenAI

from tests.conftest import ROOT
from tests.support.service import TOKEN, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def client(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    folder, port = tmp_path_factory.mktemp("serve_run"), free_port()
    text = (ROOT / "serve_configs" / "chat_cpu.yaml").read_text()
    assert "port: 8000" in text
    assert "path: smollm2-135m" in text
    text = text.replace("port: 8000", f"port: {port}")
    (folder / "chat.yaml").write_text(text.replace("path: smollm2-135m", f"path: {smollm2}"))
    ray_folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short: sockets lie below it
    environment = {
        **os.environ,
        "MEDRAY_SERVE_TOKEN": TOKEN,
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": str(ray_folder),  # no other Ray of this machine is joined
    }
    environment.pop("RAY_ADDRESS", None)
    command = [str(Path(sys.executable).with_name("serve")), "run", "chat.yaml"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, text=True
        )
    try:
        _wait_ready(process, port, folder / "log")
        yield OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=TOKEN, max_retries=0)
    finally:
        tree = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        for child in tree:
            if child.is_running():
                child.kill()
        shutil.rmtree(ray_folder, ignore_errors=True)


def _wait_ready(process: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready", timeout=10).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def test_the_real_model_answers(client: OpenAI) -> None:
    (card,) = client.models.list()
    question = [{"role": "user", "content": "What is the capital of France?"}]
    stream = client.chat.completions.create(
        model=card.id, messages=question, max_tokens=24, temperature=0, stream=True
    )
    text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert "Paris" in text
    assert text.rstrip().endswith("decide about care.")


def test_an_emergency_is_answered_with_advice_first(client: OpenAI) -> None:
    (card,) = client.models.list()
    question = [{"role": "user", "content": "突然胸痛，左臂发麻，出冷汗，怎么办？"}]
    answer = client.chat.completions.create(model=card.id, messages=question, max_tokens=16)
    assert (answer.choices[0].message.content or "").startswith("⚠️")
    assert "120" in (answer.choices[0].message.content or "")
