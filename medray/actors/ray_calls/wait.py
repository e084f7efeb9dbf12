"""Waiting for actors: always with a deadline, always with a name for who is late or lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from medray.errors import DeadlineExceeded, MedrayError, WorkerLost

MANY = 64  # refs that are looked at together, at the pace of a clock
SETTLE_S = 0.05  # between two looks at that many
GRACE_S = 5.0  # how long an error waits for the death that may have caused it

_LOADED = time.monotonic()  # in an actor's process, when it began to load what the actor is made of

Ref = Any  # ray.ObjectRef: an object somewhere in the cluster


@dataclass(frozen=True)
class Started:
    """What an actor says once its model is loaded: who it is, and how long that took, with its imports (seconds)."""

    text: str
    seconds: float

    @classmethod
    def now(cls, text: str) -> Started:
        """The calling actor is ready."""
        return cls(text, time.monotonic() - _LOADED)


def gather(
    calls: Mapping[str, Ref],
    *,
    deadline_s: float,
    doing: str,
    revive: Callable[[str, WorkerLost], Ref] | None = None,
) -> dict[str, Any]:
    """Results of named calls, in the same order.

    A death is raised as soon as it shows, whoever is still busy: peers of a dead rank may never return. Another
    error waits a moment for a death that explains it.

    Args:
        calls: what to wait for, by the name of whoever owes it.
        deadline_s: how long all of them may take, seconds.
        doing: what they do, for messages.
        revive: called with who died and how; starts another in its place and returns the ref to wait for instead, or
            raises.

    Raises:
        DeadlineExceeded: not all arrived in time; names the missing.
        WorkerLost: an actor died.
        MedrayError: whatever an actor raised on purpose, unwrapped.
    """
    pending = {ref: name for name, ref in calls.items()}
    results: dict[str, Any] = {}
    failure: Exception | None = None
    end = time.monotonic() + deadline_s
    while pending:
        left = end - time.monotonic() if failure is None else GRACE_S
        ready, _ = ray.wait(list(pending), timeout=max(0.0, left))
        if not ready and failure is not None:
            raise failure
        if not ready:
            late = ", ".join(pending.values())
            raise DeadlineExceeded(
                f"{doing}: no answer from {late} within {deadline_s:g} s", tuple(pending.values())
            )
        for ref in ready:
            name = pending.pop(ref)
            try:
                results[name] = fetch(ref, name=name, doing=doing)
            except WorkerLost as loss:
                if revive is None:
                    raise
                pending[revive(name, loss)] = name
            except Exception as error:
                failure = failure or error
    if failure is not None:
        raise failure
    return {name: results[name] for name in calls}


def ready_of(refs: list[Ref], timeout_s: float) -> list[Ref]:
    """All refs that are ready once the first one is, or by the timeout; nothing is fetched.

    Many refs are looked at once in a while, the more of them the less often: a look costs the same whether one of
    them is ready or a hundred.
    """
    if not refs:
        time.sleep(timeout_s)
        return []
    if len(refs) >= MANY and timeout_s > 0:
        pause = min(timeout_s, SETTLE_S * len(refs) / MANY)
        return ray.wait(refs, num_returns=len(refs), timeout=pause, fetch_local=False)[0]
    first, _ = ray.wait(refs, num_returns=1, timeout=max(0.0, timeout_s), fetch_local=False)
    if not first or len(refs) == 1:
        return first
    return ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)[0]


def fetch(ref: Ref, *, name: str, doing: str) -> Any:
    """The value of a ref known to be ready, with Ray's wrapping taken off its errors."""
    try:
        return ray.get(ref, timeout=60)
    except RayError as error:
        raise unwrap(error, name=name, doing=doing) from None


def fetch_all(refs: Mapping[str, Ref], *, doing: str) -> dict[str, Any]:
    """The values of refs known to be ready, by the name of who made each; an error stands where its value would."""
    try:
        return dict(zip(refs, ray.get(list(refs.values()), timeout=60), strict=True))
    except RayError:
        return {name: _value_or_error(ref, name=name, doing=doing) for name, ref in refs.items()}


def _value_or_error(ref: Ref, *, name: str, doing: str) -> Any:
    try:
        return fetch(ref, name=name, doing=doing)
    except Exception as error:
        return error


def unwrap(error: RayError, *, name: str, doing: str) -> Exception:
    """The error an actor meant to raise, or one that names the actor."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, MedrayError) else error
    if isinstance(error, RayActorError):
        return WorkerLost(f"{doing}: {name} died ({str(error).strip().splitlines()[-1]})")
    return WorkerLost(f"{doing}: the result of {name} was lost ({type(error).__name__})")
