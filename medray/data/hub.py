"""Datasets of the model hub, streamed through the `datasets` library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from medray.config.data import FileConfig
from medray.data.files.data_file import RawRow
from medray.data.files.opening import Digests
from medray.errors import DataError


@dataclass(frozen=True, slots=True)
class HubFeed:
    """The rows of one split of a hub dataset, in its order."""

    id: str
    subset: str | None
    split: str
    revision: str | None

    @classmethod
    def of(cls, config: FileConfig) -> HubFeed:
        """The dataset that `config.path` names."""
        return cls(str(config.path), config.subset, config.hub_split, config.revision)

    @property
    def name(self) -> str:
        """Its id with subset and split."""
        return "/".join([self.id, *([self.subset] if self.subset else []), self.split])

    def read(self, digests: Digests | None = None) -> Iterator[RawRow]:
        """The rows without their null fields; the digest is one over the rows as JSON."""
        sha256 = hashlib.sha256()
        for number, fields in enumerate(self._stream(), start=1):
            present = {key: value for key, value in fields.items() if value is not None}
            if digests is not None:
                sha256.update(json.dumps(fields, sort_keys=True, default=str).encode())
            name = f"{self.name}:{number}"
            yield RawRow(name, name, present)
        if digests is not None:
            digests[self.name] = sha256.hexdigest()

    def _stream(self) -> Iterable[dict[str, Any]]:
        """Streamed from the hub; from the library's cache where the hub is out of reach."""
        import datasets

        datasets.disable_progress_bars()
        errors: list[str] = []
        for streaming in (True, False):
            try:
                opened = datasets.load_dataset(
                    self.id,
                    self.subset,
                    split=self.split,
                    revision=self.revision,
                    streaming=streaming,
                )
                return cast(Iterable[dict[str, Any]], opened)
            except (ConnectionError, OSError, ValueError, RuntimeError) as error:
                errors.append(" ".join(str(error).split()))
        raise DataError(
            f"data.path={self.id} is no file or folder here, and the hub does not give it"
            f" ({errors[0][:200]}): correct the path (and data.subset, data.hub_split), or"
            " download the dataset where there is a network and set data.path to its folder"
        )
