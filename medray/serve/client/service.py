"""A service to talk to: one that runs, or one of our own for as long as it is needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from medray.config.serve import AuthConfig
from medray.errors import ConfigError, DeadlineExceeded, MedrayError, ModelError
from medray.models.served import locate, name_of
from medray.serve.tokens import read_tokens

if TYPE_CHECKING:
    from openai import OpenAI

DEFAULT_URL = "http://127.0.0.1:8000/v1"
START_S = 900.0
STOP_S = 60.0
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Service:
    """An OpenAI client and the model to ask."""

    client: OpenAI
    model: str


@contextmanager
def connect(model: str, url: str | None, *, report: Report) -> Iterator[Service]:
    """The service at `url`, or the default one where it has `model`, or one started for the block.

    Raises:
        ConfigError: the service does not answer, has no such model, or refuses the token.
        ModelError: there is neither a service nor a model of this name.
    """
    if url is not None:
        yield Service(_client(url), _require(model, _models(url), url))
        return
    running = _models_or_none(DEFAULT_URL)
    if running and (model in running or name_of(model) in running):
        yield Service(_client(DEFAULT_URL), model if model in running else name_of(model))
        return
    _require_local(model)
    with _started(model, report) as url:
        names = _models(url)
        yield Service(_client(url), name_of(model) if name_of(model) in names else names[-1])


def _require_local(model: str) -> None:
    if isinstance(locate(model), str):
        raise ModelError(
            f"{model} is not a folder, and no service at {DEFAULT_URL} serves it: pass a run, a model folder, or --url"
        )


def _require(model: str, names: list[str], url: str) -> str:
    if model not in names:
        raise ConfigError(f"{url} has no model {model}: use one of {', '.join(names)}")
    return model


def _token() -> str:
    auth = AuthConfig()
    try:
        return read_tokens(auth)[0]
    except ConfigError:
        return "none"  # a service without authentication; another one answers 401


def _client(url: str) -> OpenAI:
    from openai import OpenAI

    return OpenAI(base_url=url, api_key=_token(), max_retries=2)


def _models(url: str) -> list[str]:
    try:
        answer = httpx.get(
            f"{url}/models", headers={"Authorization": f"Bearer {_token()}"}, timeout=10
        )
    except httpx.HTTPError as error:
        raise ConfigError(f"{url} does not answer ({error}): is the service running?") from None
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise ConfigError(
            f"{url} rejects the token: set {AuthConfig().token_env} to the service's token"
        )
    if answer.status_code != httpx.codes.OK:
        raise ConfigError(
            f"{url} returned status {answer.status_code}: is it an OpenAI-compatible service?"
        )
    return [card["id"] for card in answer.json()["data"]]


def _models_or_none(url: str) -> list[str] | None:
    try:
        return _models(url)
    except MedrayError:
        return None


@contextmanager
def _started(model: str, report: Report) -> Iterator[str]:
    """`medray serve` beside us, on a free port, until the block ends."""
    port = _free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "medray.cli", "serve", model, "--port", str(port)]
    report(f"loading {model} (about a minute)")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, env=dict(os.environ)
        )
        try:
            _wait_ready(process, base, output)
            yield f"{base}/v1"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_ready(process: subprocess.Popen[bytes], base: str, output: object) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output.seek(0)  # type: ignore[attr-defined]
            errors = [line for line in output.read().splitlines() if line.startswith("error: ")]  # type: ignore[attr-defined]
            raise ModelError(
                errors[-1].removeprefix("error: ") if errors else "the service stopped"
            )
        try:
            if httpx.get(f"{base}/ready", timeout=10).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise DeadlineExceeded(
        f"the service is not ready after {START_S:.0f} s: run medray serve on its own to see why"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def default_save_path() -> Path:
    """Where `/save` without a name writes."""
    return Path(time.strftime("chat-%Y%m%d-%H%M%S.json"))
