"""Whether a model can give scores as it is; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medray.errors import ModelError
from medray.models.adapters.folder import SETTINGS, base_of, is_adapter
from medray.models.fetching.fetch import resolve_model

CLASSIFIER = "ForSequenceClassification"


def has_score_head(path: str) -> bool:
    """Whether a model comes with a map from hidden state to score; True of a hub id, which is known only once loaded.

    Args:
        path: as `model.path`.

    Raises:
        ModelError: it is missing.
    """
    at = resolve_model(path)
    while is_adapter(at):
        if _json(Path(at, SETTINGS)).get("task_type") == "SEQ_CLS":
            return True
        at = resolve_model(base_of(at))
    if not Path(at, "config.json").is_file():
        return not Path(at).is_dir()
    kinds = _json(Path(at, "config.json")).get("architectures") or []
    return any(str(kind).endswith(CLASSIFIER) for kind in kinds)


def require_score_head(path: str) -> None:
    """Refuse a model that would need a new head to give scores.

    Raises:
        ModelError: it is missing, or a language model.
    """
    if not has_score_head(path):
        raise ModelError(
            f"reward model {path}: it is a language model without a score head: train a reward model with "
            "jobs/rm.py, or use a "
            "sequence-classification model"
        )


def trained_separator(path: str) -> str | None:
    """What stood between steps when a process reward model was trained; None without its run's settings.

    Args:
        path: as `model.path`; the settings are next to the checkpoints of a run.

    Raises:
        ModelError: the model is missing, or the settings cannot be read.
    """
    for folder in Path(resolve_model(path)).parents[:2]:
        if (folder / "config.json").is_file():
            chat = _json(folder / "config.json").get("chat")
            if isinstance(chat, dict) and (separator := chat.get("step_separator")):
                return str(separator)
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
