"""What every engine proves before it serves new weights: the delivery is whole, and the probe agrees."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from medray.engines.base import NamedArray
from medray.errors import LogprobMismatchError, MissingTensorError
from medray.types import Floats, TensorInfo, WeightManifest


def require_shape(manifest: WeightManifest, tensor: NamedArray) -> TensorInfo | None:
    """Return what the manifest promises of a tensor, None where it promises nothing.

    Raises:
        MissingTensorError: the shape is another one.
    """
    name, array = tensor
    promised = manifest.tensors.get(name)
    if promised is not None and tuple(array.shape) != promised.shape:
        raise MissingTensorError(
            f"weight sync {manifest.version}: {name} has shape {tuple(array.shape)}, expected {promised.shape}"
        )
    return promised


def require_whole(manifest: WeightManifest, delivered: Set[str], kept: Set[str]) -> None:
    """Refuse a delivery that is not exactly what the manifest promises beside what the engine has kept.

    Raises:
        MissingTensorError: tensors are missing or unknown.
    """
    missing = manifest.tensors.keys() - delivered - kept
    surplus = delivered - manifest.tensors.keys()
    if missing or surplus:
        raise MissingTensorError(
            f"weight sync {manifest.version}: {len(missing)} tensors missing {sorted(missing)[:3]}, "
            f"{len(surplus)} unknown {sorted(surplus)[:3]}; the engine stays closed"
        )


def require_agreement(manifest: WeightManifest, logp: Floats, tolerance: float) -> float:
    """Compare the engine's log-probabilities [T - 1] of the probe with the learner's.

    Returns:
        max |engine - learner|, nats.

    Raises:
        LogprobMismatchError: it exceeds `tolerance`, or is not a number.
    """
    gaps = np.abs(logp - manifest.probe.logp)
    gap = float(np.max(gaps))
    if not gap <= tolerance:
        raise LogprobMismatchError(
            f"weight sync {manifest.version}: engine and learner differ by {gap:.3g} nats at probe token "
            f"{int(np.argmax(gaps)) + 1} (tolerance {tolerance:g}): a tensor was not transferred correctly, or "
            "sync.tolerance is too tight for the dtype"
        )
    return gap
