"""`medray serve`: one application on this machine or on a running cluster, until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation

from medray.actors.cluster.connect import start_ray
from medray.config.serve import ServeApp
from medray.errors import ConfigError, ModelError, ResourceError
from medray.models.quantisation.quantised import engine_plugins
from medray.models.served import Model, resolve
from medray.serve.app import build_app
from medray.serve.tokens import token_digests
from medray.serve.web.app import require_gradio
from medray.system.ray_token import keep_token_private

APP_NAME = "medray"
WEB_NAME, WEB_PREFIX = "medray-web", "/chat"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MIN_CPUS = 4
"""Logical CPUs a Ray of our own offers: replicas of a rolling update overlap, whatever the machine has."""
STOP_S = 15.0
"""Seconds replicas take to end once their streams have."""
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service listens, and where its metrics are read."""

    host: str = "127.0.0.1"
    port: int = 8000
    metrics_port: int | None = None

    @property
    def url(self) -> str:
        """Base URL for OpenAI clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"


def run(
    app: ServeApp, address: Address, *, web: bool = False, follow_s: float | None, report: Report
) -> None:
    """Deploy `app`, say where it is, and serve until SIGINT or SIGTERM; open streams are finished first.

    Args:
        app: what to serve.
        web: put the web chat beside it, at /chat.
        address: where to listen; ignored beyond the first application of a running cluster.
        follow_s: seconds between looks for a newer checkpoint of the runs that are served; None never looks.
        report: receives lines for people.

    Raises:
        ConfigError: an open address without authentication, or a token that is none.
        ResourceError: the port is taken.
        ModelError: an engine does not start.
    """
    if address.host not in LOOPBACK and not app.auth.enabled:
        raise ConfigError(
            "auth.enabled=false is allowed on this machine only: set auth.enabled=true, or listen on 127.0.0.1 "
            f"instead of {address.host}"
        )
    models = resolve(app)
    for model in models:
        engine_plugins(model.quantisation, model=model.name)
    if web:
        require_gradio()
    _require_free(address)
    token_digests(app.auth, create=True)  # a bad one must be told before anything starts
    # In this order: Ray takes the signals for itself when it starts.
    with _cluster(address) as is_ours, _stop_event() as stop:
        serve.start(
            proxy_location=ProxyLocation.HeadOnly,
            http_options=HTTPOptions(host=address.host, port=address.port),
        )
        try:
            report(f"starting {', '.join(m.source for m in models)}")
            _deploy(app)
            if web:
                _deploy_web(app, address)
                report(f"page    http://{address.host}:{address.port}{WEB_PREFIX}/")
            for line in _banner(app, address, models):
                report(line)
            _serve_until(stop, app, models, follow_s, report)
            report("stopping: waiting for open streams")
        finally:
            stop.clear()
            _drain(app, stop)
            if is_ours:
                serve.shutdown()


def _deploy(app: ServeApp) -> None:
    built = build_app(app.model_dump(mode="json"))
    try:
        serve.run(
            built, name=APP_NAME, route_prefix="/", logging_config={"enable_access_log": False}
        )
    except RuntimeError as error:
        found = serve.status().applications.get(APP_NAME)
        told = [d.message for d in found.deployments.values() if d.message] if found else []
        text = "\n".join([str(error), *told])
        raise ModelError(f"the engine does not start: {_reason(text)}") from None


def _deploy_web(app: ServeApp, address: Address) -> None:
    from medray.serve.web.app import build_app as build_web

    settings = {
        "url": address.url,
        "auth": app.auth.model_dump(mode="json"),
        "ratings": app.ratings,
    }
    serve.run(build_web(settings), name=WEB_NAME, route_prefix=WEB_PREFIX)


def _drain(app: ServeApp, hurry: threading.Event) -> None:
    """Take the application down; its replicas finish what they are doing, as long as they are allowed to."""
    names = {APP_NAME, WEB_NAME} & set(serve.status().applications)
    for name in names:
        serve.delete(name, _blocking=False)
    deadline = time.monotonic() + max(m.replicas.drain_s for m in app.models) + STOP_S
    while names & set(serve.status().applications) and time.monotonic() < deadline:
        if hurry.wait(0.2):
            return


def _serve_until(
    stop: threading.Event,
    app: ServeApp,
    models: list[Model],
    follow_s: float | None,
    report: Report,
) -> None:
    """Wait; where a run has written a newer checkpoint, replace replica by replica."""
    while not stop.wait(follow_s):
        try:
            newest = resolve(app)
        except ModelError as error:  # a checkpoint being replaced: the old one still serves
            report(f"not updating: {error}")
            continue
        if newest == models:
            continue
        report(f"updating to {', '.join(m.source for m in newest)}")
        try:
            _deploy(app)
        except ModelError as error:
            report(f"the update failed; the previous checkpoint is still served: {error}")
        else:
            report("updated")
        models = newest


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Set by SIGINT and SIGTERM while the block runs; asked twice, it does not wait."""
    stop = threading.Event()

    def asked(signum: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {s: signal.signal(s, asked) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def _cluster(address: Address) -> Iterator[bool]:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine's loopback for the block.

    Yields whether it is ours: another's may serve other applications that go on.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's workers otherwise stand back behind whatever else runs here, and people wait for a service.
    os.environ.setdefault("RAY_worker_niceness", "0")
    quiet = {
        "log_to_driver": bool(os.environ.get("MEDRAY_VERBOSE")),
        "logging_level": logging.ERROR,
    }
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if ray.is_initialized():
        yield False
        return
    is_ours = not os.environ.get("RAY_ADDRESS")
    if not is_ours:
        start_ray(**quiet)
    else:
        keep_token_private()
        start_ray(
            include_dashboard=False,
            num_cpus=max(MIN_CPUS, os.cpu_count() or 1),
            _node_ip_address="127.0.0.1",
            _metrics_export_port=address.metrics_port,
            **quiet,
        )
    try:
        yield is_ours
    finally:
        ray.shutdown()


def _require_free(address: Address) -> None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise ResourceError(
                f"cannot listen on {address.host}:{address.port} ({error.strerror}): choose another address "
                "with --host or --port"
            ) from None


def _banner(app: ServeApp, address: Address, models: list[Model]) -> list[str]:
    names = [name for model in models for name in model.names]
    lines = [f"serving {', '.join(names)} at {address.url}"]
    if app.auth.enabled:
        source = (
            f"${app.auth.token_env}" if os.environ.get(app.auth.token_env) else app.auth.token_file
        )
        lines.append(f"token   {source}")
    if address.metrics_port is not None:
        lines.append(f"metrics http://{address.host}:{address.metrics_port}/metrics")
    lines.append(f"chat    medray chat {names[-1]} --url {address.url}")
    lines.append("stop with Ctrl-C")
    return lines


def _reason(text: str) -> str:
    """The last line of a replica's traceback that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if ("Error" in line or "error" in line) and ":" in line]
    return (errors or lines or ["no reason given"])[-1][:300]
