"""What a model is made of: whole weights, and adapters to merge into them one after another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medray.errors import ModelError
from medray.models.adapters.folder import base_of, is_adapter
from medray.models.fetching.fetch import resolve_model


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
