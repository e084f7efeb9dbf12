"""Ray Serve's own configuration files (serve_configs/*.yaml), as far as they say what medray serves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medray.config.loader import load_config, read_yaml
from medray.config.serve import ServeApp
from medray.errors import ConfigError

IMPORT_PATH = "medray.serve.app:build_app"


def load_application(path: Path, overrides: Iterable[str] = ()) -> ServeApp:
    """The first application of the file that medray builds, with `key=value` overrides of its `args`.

    Raises:
        ConfigError: the file has no such application, or a setting is wrong.
    """
    loaded: dict[str, Any] = read_yaml(path)
    for application in loaded.get("applications") or ():
        if application.get("import_path") == IMPORT_PATH:
            return load_config(ServeApp, None, overrides, base=application.get("args") or {})
    raise ConfigError(f"{path}: no application with import_path: {IMPORT_PATH}")
