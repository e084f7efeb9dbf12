"""Folders that hold an adapter and name its base; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from medray.errors import ModelError
from medray.models.fetching.catalogue import CATALOGUE

SETTINGS = "adapter_config.json"


def is_adapter(folder: Path | str) -> bool:
    """True for a folder that holds an adapter and no model of its own."""
    path = Path(folder)
    return (path / SETTINGS).is_file() and not (path / "config.json").is_file()


def base_of(folder: Path | str) -> str:
    """The model an adapter was trained on, as it was named when the adapter was saved.

    A catalogue model that has since moved is given by its catalogue name.

    Raises:
        ModelError: the folder holds no readable adapter.
    """
    named = Path(str(_setting(folder, "base_model_name_or_path")))
    return named.name if named.name in CATALOGUE and not named.exists() else str(named)


def task_of(folder: Path | str) -> str:
    """What an adapter's model does: "CAUSAL_LM", or "SEQ_CLS" for a reward model.

    Raises:
        ModelError: the folder holds no readable adapter.
    """
    return str(_setting(folder, "task_type"))


def _setting(folder: Path | str, key: str) -> object:
    try:
        return json.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: no readable adapter ({SETTINGS}: {error})") from None
