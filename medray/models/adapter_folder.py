"""Folders that hold an adapter and name its base; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from medray.errors import ModelError

SETTINGS = "adapter_config.json"


def is_adapter(folder: Path | str) -> bool:
    """True for a folder that holds an adapter and no model of its own."""
    path = Path(folder)
    return (path / SETTINGS).is_file() and not (path / "config.json").is_file()


def base_of(folder: Path | str) -> str:
    """The model an adapter was trained on, as it was named when the adapter was saved.

    Raises:
        ModelError: the folder holds no readable adapter.
    """
    try:
        settings = json.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8"))
        return str(settings["base_model_name_or_path"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: no readable adapter ({SETTINGS}: {error})") from None
