"""Verdicts on disk, one file per question, so that a resumed run asks nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from medray.storage.atomic import write_text
from medray.types import Message

V = TypeVar("V", bound=BaseModel)


class VerdictCache:
    """A folder of verdicts; processes may share it. A damaged file counts as missing and is written anew."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()

    @staticmethod
    def key(
        provenance: Mapping[str, object],
        template: str,
        messages: Sequence[Message],
        form: type[BaseModel],
    ) -> str:
        """SHA-256 of all that a verdict depends on: model, sampling, template, chat, and the verdict's form."""
        asked = [
            provenance,
            template,
            [dict(message) for message in messages],
            form.model_json_schema(),
        ]
        return hashlib.sha256(
            json.dumps(asked, sort_keys=True, ensure_ascii=False).encode()
        ).hexdigest()

    def get(self, key: str, form: type[V]) -> V | None:
        """The verdict under a key; None where there is no usable one."""
        try:
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            return form.model_validate(kept["verdict"])
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            return None

    def put(self, key: str, verdict: BaseModel, provenance: Mapping[str, object]) -> None:
        """Keep a verdict, with what it depends on."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"verdict": verdict.model_dump(mode="json"), "judge": dict(provenance)}
        write_text(path, json.dumps(kept, ensure_ascii=False) + "\n")

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
