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
from medray.storage.writable import require_new_folder


@dataclass(frozen=True, slots=True)
class AdapterChain:
    """`weights` is a folder or hub id; `adapters` are in the order in which they were trained."""

    weights: Path | str
    adapters: tuple[Path, ...] = ()


def adapter_chain(path: str, key: str = "model.path") -> AdapterChain:
    """Follow adapters from `path` (as `model.path`) down to the model that the first was trained on.

    `key` is the setting that errors name.

    Raises:
        ModelError: something on the way is missing, or adapters name each other.
    """
    adapters: list[Path] = []
    at = resolve_model(path, key)
    while is_adapter(at):
        if Path(at) in adapters:
            raise ModelError(
                f"{key}={path}: its adapters form a cycle: each names the other as its base"
            )
        adapters.insert(0, Path(at))
        at = resolve_model(base_of(at), f"{key}={path}: its base")
    return AdapterChain(at, tuple(adapters))


def require_mergeable(adapter: Path, out: Path) -> None:
    """Check what merging needs, before anything is loaded.

    Raises:
        ModelError: `adapter` holds no adapter, or its base is missing.
        ConfigError: `out` exists, or cannot be written.
    """
    if not is_adapter(adapter):
        raise ModelError(
            f"{adapter} contains no adapter (adapter_config.json): pass the folder of an adapter or LoRA checkpoint"
        )
    require_new_folder(out, "out")
    adapter_chain(str(adapter), key="adapter")


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
