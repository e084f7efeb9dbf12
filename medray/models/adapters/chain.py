"""What a model is made of: whole weights, and adapters to merge into them one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from medray.errors import ModelError
from medray.models.adapters.folder import base_of, is_adapter
from medray.models.fetching.fetch import resolve_model
from medray.storage.fingerprint import fingerprint


@dataclass(frozen=True, slots=True)
class AdapterChain:
    """`weights` is a folder or hub id; `adapters` are in the order in which they were trained."""

    weights: Path | str
    adapters: tuple[Path, ...] = ()


def adapter_chain(path: str) -> AdapterChain:
    """Follow adapters from `path` (as `model.path`) down to the model that the first was trained on.

    Raises:
        ModelError: something on the way is missing, or adapters name each other.
    """
    adapters: list[Path] = []
    at = resolve_model(path)
    while is_adapter(at):
        if Path(at) in adapters:
            raise ModelError(f"model.path={path}: its adapters name each other as their base")
        adapters.insert(0, Path(at))
        at = resolve_model(base_of(at))
    return AdapterChain(at, tuple(adapters))


def fingerprints(paths: Iterable[str]) -> dict[str, str]:
    """Return the identity of each model's files, its base's and adapters' together; models on the hub are left out."""
    prints: dict[str, str] = {}
    for path in sorted(set(paths)):
        chain = adapter_chain(path)
        parts = [Path(part) for part in (chain.weights, *chain.adapters)]
        if all(part.exists() for part in parts):
            listing = "\n".join(fingerprint(part) for part in parts)
            prints[path] = hashlib.sha256(listing.encode()).hexdigest()
    return prints
