"""A search over settings one at a time, each measured by what it cost in a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medray.planning.tuned import BATCH, BLOCK, LEARNER_THREADS, ROLLOUT_THREADS, Values

GAIN = 0.03  # a setting that saves less is left as it is: trials differ by as much

Costs = Mapping[str, float]
"""Seconds a token of each phase: rollout, update, step."""


@dataclass(frozen=True)
class Knob:
    """Settings that are changed together, what else they may be, and the phase that tells which is best."""

    choices: tuple[Values, ...]
    phase: str


def knobs(start: Values, cores: int, *, ahead: bool) -> list[Knob]:
    """What is tried beside `start`.

    Sides that take turns are tried with half of their threads, since two threads of one core may be slower than one;
    sides that compute at once also with other shares of the cores.
    """
    if ahead:
        total = start[LEARNER_THREADS] + start[ROLLOUT_THREADS]
        shares = {max(1, min(total - 1, round(total * part))) for part in (0.25, 0.5, 0.75)}
        divided = [{ROLLOUT_THREADS: k, LEARNER_THREADS: max(1, total - k)} for k in sorted(shares)]
        threads = [Knob((*divided, {ROLLOUT_THREADS: cores, LEARNER_THREADS: cores}), "step")]
    else:
        threads = [
            Knob(({key: max(1, start[key] // 2)},), phase)
            for key, phase in ((ROLLOUT_THREADS, "rollout"), (LEARNER_THREADS, "update"))
        ]
    phase = "step" if ahead else "rollout"
    blocks = Knob(({BLOCK: 64}, {BLOCK: 128}), phase)
    batches = Knob(({BATCH: 1024}, {BATCH: 16384}), phase)
    return [*threads, blocks, batches]


def search(
    start: Values, tried: Sequence[Knob], measure: Callable[[Values], Costs]
) -> tuple[dict[str, int], dict[str, float]]:
    """The best values found, and what they cost next to the start: `saved`, the share of a step's time.

    The winner and the start are measured once more, one after the other; unless it wins again, the start is kept.
    """
    best, cost = dict(start), measure(start)
    for knob in tried:
        for choice in knob.choices:
            candidate = best | dict(choice)
            if candidate == best:
                continue
            found = measure(candidate)
            if found[knob.phase] < (1 - GAIN) * cost[knob.phase]:
                best, cost = candidate, found
    if best == dict(start):
        return best, {"saved": 0.0}
    before, after = measure(start), measure(best)
    saved = 1 - after["step"] / before["step"]
    return (best, {"saved": saved}) if saved > 0 else (dict(start), {"saved": 0.0})
