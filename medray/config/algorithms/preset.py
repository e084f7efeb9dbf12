"""What a named algorithm is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """An algorithm by name: values for keys of `AlgorithmConfig` that the user did not set."""

    title: str
    """As its authors write it."""
    paper: str
    """arXiv identifier."""
    keys: Mapping[str, Any]
    """Key -> value, nested as in YAML."""
