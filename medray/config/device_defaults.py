"""Defaults that depend on the device: a GPU has other bottlenecks than the CPU that the schemas' own defaults suit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from medray.config.base import Section

ON_CUDA: dict[str, Any] = {
    "model.dtype": "bfloat16",
    "model.gradient_checkpointing": True,
    "learner.row_tokens": 16_384,
    "rollout.engine.max_num_seqs": 256,
    "rollout.engine.enforce_eager": False,
}
"""Weights and products in half the bytes, activations computed again instead of kept, launches shared by more tokens
and sequences, and CUDA graphs in place of a launch for every kernel."""


def with_device_defaults(values: Any, schema: type[Section]) -> Any:
    """Fill in what a job on `model.device=cuda` leaves open; everything that is set stays.

    Args:
        values: the raw settings of a job.
        schema: the job's; keys that it does not have are left out.
    """
    if not isinstance(values, Mapping) or _get(values, "model.device") != "cuda":
        return cast(Any, values)
    filled = dict(cast(Mapping[str, Any], values))
    for key, default in ON_CUDA.items():
        if key.partition(".")[0] in schema.model_fields and _get(filled, key) is None:
            filled = _set(filled, key.split("."), default)
    return filled


def _get(values: Any, key: str) -> Any:
    """The setting at a dotted key, in raw settings or in sections that were built already; None where there is none."""
    found: Any = values
    for name in key.split("."):
        is_raw = isinstance(found, Mapping)
        found = found.get(name) if is_raw else getattr(found, name, None)
    return found


def _set(values: Mapping[str, Any], names: list[str], value: Any) -> dict[str, Any]:
    """A copy with one more setting; sections that were built already stay as they are."""
    name, *rest = names
    if not rest:
        return {**values, name: value}
    inner: Any = values.get(name, {})
    if not isinstance(inner, Mapping):
        return dict(values)
    return {**values, name: _set(cast(Mapping[str, Any], inner), rest, value)}
