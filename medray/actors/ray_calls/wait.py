"""Waiting for actors: every wait has a deadline, and every error names the actor that is late or lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from medray.errors import DeadlineExceeded, MedrayError, WorkerLost

MANY = 64  # from this many refs on, poll them together at fixed intervals
SETTLE_S = 0.05  # interval for `MANY` refs, seconds
GRACE_S = 5.0  # how long an error is held back for the worker failure that may have caused it
CHECK_S = 0.5  # longest time in which a wait does not look whether the run has failed elsewhere

_LOADED = time.monotonic()  # in an actor's process: when it started to import the actor's modules

Ref = Any  # ray.ObjectRef: an object somewhere in the cluster


@dataclass(frozen=True)
class Started:
    """Report of an actor that is ready: its name, and the seconds it took including imports."""

    text: str
    seconds: float

    @classmethod
    def now(cls, text: str) -> Started:
        """Build the report of the calling actor."""
        return cls(text, time.monotonic() - _LOADED)


def gather(
    calls: Mapping[str, Ref],
    *,
    deadline_s: float,
    doing: str,
    key: str = "",
    revive: Callable[[str, WorkerLost], Ref] | None = None,
    check: Callable[[], None] | None = None,
    in_turn: bool = False,
) -> dict[str, Any]:
    """Wait for named calls and return their results in the same order.

    A worker failure is raised at once, even while other calls run: the peers of a dead rank may never return. Any other
    error is held back for `GRACE_S`, in case a worker failure explains it.

    Args:
        calls: refs to wait for, by actor name.
        deadline_s: deadline for all of them, seconds.
        doing: what the actors do, for messages.
        key: the setting that the deadline comes from, for messages.
        revive: called with the name of a dead actor and its error; starts a replacement and returns the ref to wait for
            instead, or raises. The deadline begins anew.
        check: called every `CHECK_S` while waiting; raises where the run has failed elsewhere.
        in_turn: actors answer several calls each, so the deadline begins anew with every result.

    Raises:
        DeadlineExceeded: some results did not arrive in time; the message names the actors.
        WorkerLost: an actor died.
        MedrayError: an actor raised it; unwrapped from Ray's error.
    """
    pending = {ref: name for name, ref in calls.items()}
    results: dict[str, Any] = {}
    failure: Exception | None = None
    end = time.monotonic() + deadline_s
    while pending:
        if check is not None:
            check()
        left = end - time.monotonic()
        ready, _ = ray.wait(list(pending), timeout=max(0.0, min(left, CHECK_S)))
        if not ready and left <= CHECK_S:
            raise failure or _late(pending.values(), deadline_s, doing, key)
        for ref in ready:
            name = pending.pop(ref)
            try:
                results[name] = fetch(ref, name=name, doing=doing)
                end = time.monotonic() + deadline_s if in_turn else end
            except WorkerLost as loss:
                if revive is None:
                    raise
                pending[revive(name, loss)] = name
                end = time.monotonic() + deadline_s
            except Exception as error:
                failure = failure or error
        if failure is not None and ready:
            end = time.monotonic() + GRACE_S
    if failure is not None:
        raise failure
    return {name: results[name] for name in calls}


def _late(names: Iterable[str], deadline_s: float, doing: str, key: str) -> DeadlineExceeded:
    late = tuple(names)
    text = f"{doing}: no answer from {', '.join(late)} within {deadline_s:g} s"
    return DeadlineExceeded(f"{text} ({key})" if key else text, late)


def ready_of(refs: list[Ref], timeout_s: float) -> list[Ref]:
    """Wait for the first ready ref, at most `timeout_s` seconds, and return all that are ready; fetches nothing.

    From `MANY` refs on, they are polled at intervals that grow with their number: a poll costs the same whether one ref
    is ready or a hundred, so polling for each single one would keep the driver busy.
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
    """Fetch the value of a ready ref; raises the actor's own error instead of Ray's wrapper."""
    try:
        return ray.get(ref, timeout=60)
    except RayError as error:
        raise unwrap(error, name=name, doing=doing) from None


def fetch_all(refs: Mapping[str, Ref], *, doing: str) -> dict[str, Any]:
    """Fetch the values of ready refs, by actor name; a failed call has its exception as value."""
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
    """Convert Ray's error to the one the actor raised, or to a `WorkerLost` that names the actor."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, MedrayError) else error
    if isinstance(error, RayActorError):
        return WorkerLost(f"{doing}: {name} died ({str(error).strip().splitlines()[-1]})")
    return WorkerLost(f"{doing}: the result of {name} was lost ({type(error).__name__})")
