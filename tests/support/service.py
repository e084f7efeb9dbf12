"""A real `medray serve` in a process of its own, for tests that talk to it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from openai import OpenAI

from tests.conftest import ROOT

TOKEN = "tests-only-token-0123456789"
READY_S = 900.0


class RunningService:
    """The process, where it listens, and clients for it."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.access_log = folder / "access.jsonl"
        self.output = folder / "serve.log"
        command = [sys.executable, "-m", "medray.cli", "serve", *arguments]
        command += [f"access_log={self.access_log}", f"--port={self.port}"]
        command += [f"--metrics-port={self.metrics_port}"]
        environment = {
            **os.environ,
            "MEDRAY_SERVE_TOKEN": TOKEN,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("RAY_ADDRESS", None)
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, cwd=folder
            )

    def wait_ready(self) -> None:
        """Until every engine answers."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output.read_text()
            try:
                if httpx.get(f"{self.base}/ready", timeout=10).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"not ready: {self.output.read_text()}")

    def client(self, **options: Any) -> OpenAI:
        """The official client."""
        return OpenAI(base_url=f"{self.base}/v1", api_key=TOKEN, **{"max_retries": 0, **options})

    def http(self, **options: Any) -> httpx.Client:
        """A plain client with the token."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.Client(base_url=self.base, headers=headers, timeout=60, **options)

    def log_text(self) -> str:
        """The access log so far."""
        return self.access_log.read_text() if self.access_log.exists() else ""

    def stop(self) -> int:
        """Ask it to stop, as Ctrl-C does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def __enter__(self) -> RunningService:
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it and everything it started, at once."""
        parent = psutil.Process(self.process.pid)
        for process in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def tiny_service(*settings: str, adapter: bool = True) -> Callable[..., Iterator[RunningService]]:
    """A fixture of one service for a module's tests: the tiny model as "tiny", a random adapter of it as "expert"."""

    @pytest.fixture(scope="module", name="service")
    def service(
        tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[RunningService]:
        folder = tmp_path_factory.mktemp("service")
        arguments = [str(tiny_model), "--name=tiny", "models.0.max_model_len=1024", *settings]
        if adapter:
            expert = save_tiny_adapter(tiny_model, folder / "adapter")
            arguments.append(f"--adapter=expert={expert}")
        with RunningService(arguments, folder) as running:
            yield running

    return service


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def save_tiny_adapter(base: Path, folder: Path, *, seed: int = 1) -> Path:
    """A random LoRA adapter for the tiny model, strong enough to change what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(
        r=8, lora_alpha=64, target_modules=["q_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.5)
    adapted.save_pretrained(folder)
    return folder
