"""`medray serve`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medray.errors import ConfigError

if TYPE_CHECKING:
    from medray.config.serve import ServeApp


def serve_command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN_OR_MODEL",
            help="Run folder (its checkpoint is found), model folder, catalogue name, or hub id.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings as key=value, such as limits.max_new_tokens=512."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="File as in serve_configs/; its first application."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port for Prometheus metrics; default: chosen by Ray.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Model name in requests; default: the folder name.")
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="[NAME=]FOLDER", help="LoRA adapter (repeatable)."),
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Also serve the web chat at /chat (needs Gradio).")
    ] = False,
    follow: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="Check for a newer checkpoint of the run at this interval, and switch to it without downtime.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved settings without starting anything."),
    ] = False,
) -> None:
    """Serve a run or a model with an OpenAI-compatible API, by default on this machine only."""
    app = _application(model, settings or [], config, name, adapter or [])
    if dry_run:
        from medray.config.loader import dump_config

        typer.echo(dump_config(app), nl=False)
        return
    _prepare(app)
    from medray.serve.launch import Address, run

    address = Address(host, port, metrics_port)
    run(app, address, web=web, follow_s=follow, report=typer.echo)


def _prepare(app: ServeApp) -> None:
    """Look for the models and set what Ray and vLLM read when they are imported."""
    from medray.runs.inputs import require_served
    from medray.serve.loopback import choose_loopback

    require_served(app)
    choose_loopback()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


def _application(
    model: str | None,
    settings: list[str],
    config: Path | None,
    name: str | None,
    adapters: list[str],
) -> ServeApp:
    from medray.config.loader import load_config
    from medray.config.serve import ServeApp
    from medray.config.serve_file import load_application

    if model is not None and "=" in model:  # with --config, every argument is a setting
        settings, model = [model, *settings], None
    if (model is None) == (config is None):
        raise ConfigError(
            "pass what to serve: medray serve RUN_OR_MODEL, or medray serve --config FILE"
        )
    if config is not None:
        if name is not None or adapters:
            raise ConfigError(
                "--name and --adapter need RUN_OR_MODEL: with --config, set models.0.name instead"
            )
        return load_application(config, settings)
    served: dict[str, object] = {"path": model, "name": name}
    served["adapters"] = [_adapter(text) for text in adapters]
    return load_config(ServeApp, None, [f"models={json.dumps([served])}", *settings])


def _adapter(text: str) -> dict[str, str]:
    name, equals, path = text.partition("=")
    return {"name": name, "path": path} if equals else {"path": text}
