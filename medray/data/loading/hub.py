"""Datasets of the model hub, streamed through the `datasets` library."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from medray.config.data import FileConfig
from medray.data.files.data_file import RawRow
from medray.data.files.opening import Digests
from medray.data.loading.columns import renamed_rows
from medray.data.parsing.nulls import without_nulls
from medray.errors import DataError
from medray.system.deadline import url_answers

PROBE_S = 5.0
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_TRUE = ("1", "ON", "YES", "TRUE")


@dataclass(frozen=True, slots=True)
class HubRows:
    """The rows of one split of a hub dataset, in its order."""

    id: str
    subset: str | None
    split: str
    revision: str | None
    columns: Mapping[str, str | None] = field(default_factory=dict[str, str | None])

    @classmethod
    def of(cls, config: FileConfig) -> HubRows:
        """The dataset that `config.path` names."""
        return cls(
            str(config.path), config.subset, config.hub_split, config.revision, config.columns
        )

    @property
    def name(self) -> str:
        """Its id with subset and split."""
        return "/".join([self.id, *([self.subset] if self.subset else []), self.split])

    def read(self, digests: Digests | None = None) -> Iterator[RawRow]:
        """The rows without their null fields; the digest is one over the rows as JSON."""
        return renamed_rows(self._rows(digests), self.columns, self.name)

    def _rows(self, digests: Digests | None) -> Iterator[RawRow]:
        sha256 = hashlib.sha256()
        for number, fields in enumerate(self._stream(), start=1):
            if digests is not None:
                sha256.update(json.dumps(fields, sort_keys=True, default=str).encode())
            name = f"{self.name}:{number}"
            yield RawRow(name, name, without_nulls(fields))
        if digests is not None:
            digests[self.name] = sha256.hexdigest()

    def _stream(self) -> Iterable[dict[str, Any]]:
        """Streamed from the hub; from the library's cache where the hub is out of reach."""
        import datasets

        datasets.disable_progress_bars()
        is_online = hub_answers()
        try:
            with contextlib.nullcontext() if is_online else _offline():
                opened = datasets.load_dataset(
                    self.id,
                    self.subset,
                    split=self.split,
                    revision=self.revision,
                    streaming=is_online,
                )
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200] if is_online else "there is no network"
            raise DataError(
                f"data.path={self.id} is not a local file or folder and cannot be loaded from the hub"
                f" ({reason}): correct the path (and data.subset, data.hub_split), or"
                " download the dataset where there is a network and set data.path to its folder"
            ) from None
        return cast(Iterable[dict[str, Any]], opened)


def hub_answers(timeout_s: float = PROBE_S) -> bool:
    """Whether the hub can be reached; False when HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set.

    The library itself would retry for half a minute.
    """
    if any(os.environ.get(name, "").upper() in _TRUE for name in _OFFLINE):
        return False
    return url_answers(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), timeout_s)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep both libraries from the network inside the block."""
    import datasets.config
    import huggingface_hub.constants

    modules = (datasets.config, huggingface_hub.constants)
    before = [getattr(module, _OFFLINE[0]) for module in modules]
    for module in modules:
        setattr(module, _OFFLINE[0], True)
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            setattr(module, _OFFLINE[0], value)
