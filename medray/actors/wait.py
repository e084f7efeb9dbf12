"""Waiting for actors: always with a deadline, always with a name for who is late or lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from medray.errors import DeadlineExceeded, MedrayError, WorkerLost

Ref = Any  # ray.ObjectRef: an object somewhere in the cluster


@dataclass(frozen=True)
class Started:
    """What an actor says once its model is loaded: who it is, and how long that took (seconds)."""

    text: str
    seconds: float


def gather(calls: Mapping[str, Ref], *, deadline_s: float, doing: str) -> dict[str, Any]:
    """Results of named calls, in the same order.

    Raises:
        DeadlineExceeded: not all arrived in time; names the missing.
        WorkerLost: an actor died.
        MedrayError: whatever an actor raised on purpose, unwrapped.
    """
    refs = list(calls.values())
    ready, _ = ray.wait(refs, num_returns=len(refs), timeout=deadline_s)
    if len(ready) < len(refs):
        done = set(ready)
        late = [name for name, ref in calls.items() if ref not in done]
        raise DeadlineExceeded(f"{doing}: no answer from {', '.join(late)} within {deadline_s:g} s")
    return {name: fetch(ref, name=name, doing=doing) for name, ref in calls.items()}


def fetch(ref: Ref, *, name: str, doing: str) -> Any:
    """The value of a ref known to be ready, with Ray's wrapping taken off its errors."""
    try:
        return ray.get(ref, timeout=60)
    except RayError as error:
        raise unwrap(error, name=name, doing=doing) from None


def unwrap(error: RayError, *, name: str, doing: str) -> Exception:
    """The error an actor meant to raise, or one that names the actor."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, MedrayError) else error
    if isinstance(error, RayActorError):
        return WorkerLost(f"{doing}: {name} died ({str(error).strip().splitlines()[-1]})")
    return WorkerLost(f"{doing}: the result of {name} was lost ({type(error).__name__})")
