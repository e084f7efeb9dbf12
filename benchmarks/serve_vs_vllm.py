"""What the front door costs: first token and tokens a second of `medray serve` against plain `vllm serve`.

Both servers run the same model with the same engine settings and are asked in turn, so that what else happens on the
machine hits both alike; the one that is not asked is stopped meanwhile, for its processes look for work all the time.

python -m benchmarks.serve_vs_vllm models/smollm2-135m --clients 1 --clients 4 --rounds 6
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer

from benchmarks.record import write_record

TOKEN = "benchmark-token-0123456789"
PROMPT = "List common causes of a persistent dry cough in adults, and say for each what a doctor would check first."
READY_S = 600
CATCH_UP_S = 2.0  # a server that was stopped first does what its timers have missed
SHORT_TOKENS = 4
SHORT_ASKS = 8  # short answers in a row


@dataclass(frozen=True)
class Server:
    """A process that answers the OpenAI API."""

    name: str
    url: str
    process: subprocess.Popen[bytes]


@dataclass(frozen=True)
class Sample:
    """One round of simultaneous requests."""

    first_token_s: float
    tokens_per_s: float


@dataclass(frozen=True)
class Options:
    """What is asked of both."""

    model: str
    rounds: int
    new_tokens: int
    max_model_len: int


def main(
    model: Annotated[str, typer.Argument(help="Model folder.")],
    clients: Annotated[list[int] | None, typer.Option(help="Simultaneous streams; repeat.")] = None,
    rounds: Annotated[int, typer.Option(help="Times the two take turns.")] = 6,
    new_tokens: Annotated[int, typer.Option(help="Length of every answer.")] = 64,
    max_model_len: Annotated[int, typer.Option(help="Longest context.")] = 2048,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Measure, print the ratios, write the record."""
    options = Options(model, rounds, new_tokens, max_model_len)
    counts = clients or [1, 4]
    results: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(started(name, options)) for name in ("vllm", "medray")]
        for server in servers:
            wait_ready(server)
        for server in servers:  # what is compiled or cached on first use does not count
            asyncio.run(measure(server, max(counts), new_tokens))
        for count in counts:
            results[f"{count} streams"] = compare(servers, count, options)
            print(f"{count} streams: {json.dumps(results[f'{count} streams'])}", flush=True)
    settings = {"model": model, "rounds": rounds, "new_tokens": new_tokens, "clients": counts}
    question = "First token and tokens a second of medray serve against plain vllm serve"
    write_record(out / "serve_vs_vllm.json", question, settings, results)


def compare(servers: list[Server], num_clients: int, options: Options) -> dict[str, Any]:
    """Medians of each server and their ratio, rounds taken in turn.

    First tokens come of short answers, a row of them each round, since they vary most. The first of a row comes to a
    server that has done nothing for seconds, and is told apart.
    """
    names = [server.name for server in servers]
    waking, first_token, rate = ({name: list[float]() for name in names} for _ in range(3))
    for number in range(options.rounds):
        for server in servers if number % 2 else reversed(servers):
            with stopped(other for other in servers if other is not server):
                time.sleep(CATCH_UP_S)
                short = asyncio.run(measure(server, num_clients, SHORT_TOKENS, SHORT_ASKS))
                [long] = asyncio.run(measure(server, num_clients, options.new_tokens))
            waking[server.name].append(short[0].first_token_s)
            first_token[server.name] += [sample.first_token_s for sample in short[1:]]
            rate[server.name].append(long.tokens_per_s)
    return {
        "first_token_s": _compared(first_token),
        "first_token_after_a_pause_s": _compared(waking),
        "tokens_per_s": _compared(rate),
    }


def _compared(seen: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(values) for name, values in seen.items()}
    quartiles = {
        name: [round(q, 4) for q in statistics.quantiles(values, n=4)]
        for name, values in seen.items()
    }
    found: dict[str, Any] = {name: round(m, 4) for name, m in medians.items()}
    ratio = round(medians["medray"] / medians["vllm"], 3)
    return found | {"medray/vllm": ratio, "quartiles": quartiles}


@contextlib.contextmanager
def stopped(servers: Iterable[Server]) -> Iterator[None]:
    """Servers that take no CPU time during the block."""
    processes = [psutil.Process(server.process.pid) for server in servers]
    processes += [child for process in processes for child in process.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


async def measure(
    server: Server, num_clients: int, new_tokens: int, times: int = 1
) -> list[Sample]:
    """Stream `num_clients` answers at once, `times` in a row."""
    samples: list[Sample] = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=600) as http:
        for _ in range(times):
            started_s = time.monotonic()
            firsts = await asyncio.gather(*(ask(http, i, new_tokens) for i in range(num_clients)))
            seconds = time.monotonic() - started_s
            samples.append(Sample(statistics.mean(firsts), num_clients * new_tokens / seconds))
    return samples


async def ask(http: httpx.AsyncClient, client: int, new_tokens: int) -> float:
    """Seconds to the first token; returns once the answer is whole."""
    message = {"role": "user", "content": f"{time.monotonic_ns()} {client}. {PROMPT}"}
    body = {"model": "m", "messages": [message], "max_tokens": new_tokens, "stream": True}
    body |= {"temperature": 0, "ignore_eos": True}
    started_s, first = time.monotonic(), None
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            choices = json.loads(line.removeprefix("data: "))["choices"]
            if first is None and choices and choices[0]["delta"].get("content"):
                first = time.monotonic() - started_s
    assert first is not None
    return first


@contextlib.contextmanager
def started(name: str, options: Options) -> Iterator[Server]:
    """Start a server, stop it after the block."""
    port = free_port()
    threads = str(os.cpu_count() or 1)
    environment = {**os.environ, "MEDRAY_SERVE_TOKEN": TOKEN, "VLLM_CPU_KVCACHE_SPACE": "1"}
    environment |= {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_PLUGINS": "", "OMP_NUM_THREADS": threads}
    environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
    model, length = str(Path(options.model).resolve()), str(options.max_model_len)
    if name == "vllm":
        # What `vllm serve` runs; the command itself looks for a package of the name vllm, which vllm-cpu is not.
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
        command += ["--served-model-name", "m", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--dtype", "float32", "--enforce-eager", "--max-num-seqs", "64"]
        command += ["--max-model-len", length, "--enable-prefix-caching", "--api-key", TOKEN]
    else:
        command = [sys.executable, "-m", "medray.cli", "serve", model, "--name", "m"]
        command += ["--port", str(port), f"models.0.max_model_len={length}"]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield Server(name, f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            process.wait(120)


def wait_ready(server: Server) -> None:
    """Until it lists its model."""
    deadline = time.monotonic() + READY_S
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path = "/ready" if server.name == "medray" else "/health"
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise SystemExit(f"{server.name} ended with code {server.process.returncode}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{server.url}{path}", headers=headers, timeout=10).status_code == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"{server.name} is not ready after {READY_S} s")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    typer.run(main)
