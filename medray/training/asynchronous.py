"""Asynchronous rollouts: a source of groups that samples ahead of training.

    prompts -> [requested] -> engines -> graders, reference, critic -> [ready] -> batch -> learner
                  ^                                                                  |
                  +----------------- one new request per group trained on -----------+

The training loop is the same as in synchronous runs; only its source of groups differs. At most
`prompts_per_step * (max_lag + 1)` groups are in flight. Engines take new weights between two tokens and continue, so a
response may contain tokens of several policy versions; each token keeps the log-probability it was sampled with. The
critic scores a group right after sampling, so values, like tokens, come from weights up to `max_lag` versions old.

Who waits for whom:

    rollout thread     waits for results of engines and scorers, at most `POLL_S`; never for the training loop
    `next_groups`      called by the training loop; waits on `_changed` until `staleness.choose` can make a batch
    `on_new_weights`   called by the training loop after a weight sync; requests more groups, waits for nobody
    engines            wait for neither; they are idle only when no request is queued

`_changed` guards all state that both threads touch. The rollout thread polls without holding it, so a slow poll never
blocks the training loop. An exception in the rollout thread is kept and raised from `next_groups`, also when a batch is
ready; one of an actor is raised from every wait of the run (`RunFailure`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from medray.actors.collector import NOTHING_SCORED, POLL_S, Collector, Inbox
from medray.actors.groups import GroupHandle
from medray.actors.ray_calls.failure import RunFailure
from medray.config.rl import RlJob
from medray.data.batches.stream import PromptStream
from medray.engines.base import prompt_seed
from medray.errors import DeadlineExceeded, GraderError
from medray.losses.advantages import tied
from medray.training.curriculum import open_stream
from medray.training.sampling import PromptSource, SampledStep
from medray.training.staleness import Waiting, choose
from medray.training.steps import Run
from medray.types import Prompt


@dataclass
class _Entry:
    position: int  # of the prompt in the stream
    group: GroupHandle
    version: int  # oldest policy version that any of its tokens may have
    round: int  # 1, or one more than that of the tied group it replaces
    ready: bool = False
    ties: bool = False  # tied, but used to fill a batch because no round is left


class AsynchronousSource(PromptSource):
    """A `PromptSource` that samples ahead in its own thread, between `__enter__` and `__exit__`.

    Invariant: every prompt of the stream is trained on exactly once, or dropped and counted. Checkpoints record the
    prompts that were used out of order, so this also holds across restarts.
    """

    def __init__(
        self,
        job: RlJob,
        collector: Collector,
        stream: PromptStream,
        *,
        first_step: int = 0,
        ahead: Sequence[int] = (),
    ) -> None:
        super().__init__(job, collector, stream)
        assert job.rollout.max_lag is not None
        self.max_lag = job.rollout.max_lag
        self.version = -1
        self.batches_left = job.num_steps - first_step
        self.ahead = set(
            ahead
        )  # positions after the stream's that an earlier run trained on already
        self._entries: dict[int, _Entry] = {}  # by ticket
        self._num_ready = 0  # of the entries
        self._tying: list[
            _Entry
        ] = []  # tied groups that were replaced; reported with the next batch
        self._inbox: Inbox = deque()
        self._changed = threading.Condition(threading.RLock())
        self._failure = RunFailure()  # of the thread; the collector keeps that of the actors
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="rollouts")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._end.set()
        self._thread.join(timeout=4 * POLL_S)

    def on_new_weights(self, version: int) -> None:
        """Record the engines' new policy version, and request groups for another batch."""
        with self._changed:
            self.version = version
            if self.max_lag > 0:
                self._fill()

    @property
    def position(self) -> Mapping[str, Any]:
        """Position of the first unfinished prompt, and the finished prompts after it, for a checkpoint."""
        with self._changed:
            pending = {entry.position for entry in self._entries.values()}
            end = self.stream.position
            first = min(pending, default=end)
            ahead = [p for p in range(first, end) if p not in pending]
            state = self.stream.state_from(first)
            return {"prompt_position": first, "prompts_ahead": ahead, **state}

    # A batch --------------------------------------------------------------------------------

    def next_groups(self) -> SampledStep:
        """Wait for the next batch and return its groups.

        Raises:
            GraderError: no group of the batch could be scored.
            MedrayError: the rollout thread failed; its exception is raised here.
        """
        with self._changed:
            self._fill()
            self._require_sampling()
            while (tickets := self._choose()) is None:
                self._changed.wait(POLL_S)
                self._require_sampling()
            self.batches_left -= 1
            chosen = [self._entries.pop(ticket) for ticket in tickets]
            self._num_ready -= sum(entry.ready for entry in chosen)
            dropped, self._tying = self._tying, []
            return self._as_batch(chosen, dropped)

    def _choose(self) -> list[int] | None:
        if not self._may_do:
            return None
        for entry in self._entries.values():
            if entry.ready:
                continue
            if (oldest := self.collector.oldest_version(entry.group)) is not None:
                entry.version = oldest
        tickets = list(self._entries)
        waiting = [Waiting(e.position, e.version, e.ready) for e in self._entries.values()]
        chosen = choose(waiting, min(self.size, len(waiting)), self.version, self.max_lag)
        return None if chosen is None else [tickets[i] for i in chosen]

    def _as_batch(self, chosen: list[_Entry], dropped: list[_Entry]) -> SampledStep:
        chosen.sort(key=lambda entry: (entry.ties, entry.position))
        kept = [e.group for e in chosen if not e.group.is_dropped]
        if not kept:
            raise GraderError(NOTHING_SCORED)
        lags = [self.version - group.meta.policy_version for group in kept]
        assert max(lags) <= self.max_lag, f"a group is {max(lags)} versions old"
        mixed = [group.meta.newest_version > group.meta.policy_version for group in kept]
        counts = {
            "async/lag_mean": float(np.mean(lags)),
            "async/lag_max": float(max(lags)),
            "async/mixed_share": float(np.mean(mixed)),
            "async/groups_waiting": float(len(self._entries)),
            "async/groups_ready": float(self._num_ready),
        }
        if self.refills is not None:
            counts["groups/dropped"] = float(len(dropped))
            counts["groups/rounds"] = float(max(e.round for e in [*chosen, *dropped]))
        rest = [e.group for e in dropped if not e.group.is_dropped]
        self.stream.observe((group.prompt, group.score.rewards) for group in kept + rest)
        return SampledStep(kept, rest, counts | self.stream.metrics())

    @property
    def _may_do(self) -> bool:
        """Whether enough groups are ready for a batch; `choose` then picks which."""
        return self._num_ready >= min(self.size, len(self._entries))

    # The stream -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                self.collector.poll(POLL_S)
                with self._changed:
                    if self._receive() and self._may_do:
                        self._changed.notify_all()
        except Exception as failure:
            with self._changed:
                self._failure.keep(failure)
                self._changed.notify_all()

    def _require_sampling(self) -> None:
        self._failure.check()
        if not self._thread.is_alive():
            raise DeadlineExceeded("the rollout thread has stopped")

    def _fill(self) -> None:
        """Request as many groups as `max_lag` allows and the remaining steps need."""
        batches = min(self.max_lag + 1, self.batches_left)
        self._ask_for([1] * (self.size * batches - len(self._entries)))

    def _ask_for(self, rounds: list[int]) -> None:
        """Request the next prompts, one per element of `rounds`; skip those trained on before the restart."""
        taken: list[tuple[int, Prompt]] = []
        while len(taken) < len(rounds):
            position = self.stream.position
            [prompt] = self.stream.take(1)
            if position in self.ahead:
                self.ahead.discard(position)
            else:
                taken.append((position, prompt))
        if not taken:
            return
        seeds = [prompt_seed(self.seed, position) for position, _ in taken]
        prompts = [prompt for _, prompt in taken]
        groups = self.collector.submit(prompts, seeds, self.spec, self._inbox)
        for group, (position, _), round_ in zip(groups, taken, rounds, strict=True):
            self._entries[group.ticket] = _Entry(position, group, self.version, round_)

    def _receive(self) -> bool:
        """Move completed groups from the inbox to the entries; returns whether there were any."""
        came = len(self._inbox)
        self._num_ready += came
        for _ in range(came):
            group = self._inbox.popleft()
            entry = self._entries[group.ticket]
            entry.ready = True
            if not group.is_dropped:
                entry.version = group.meta.policy_version
        if came and self.refills is not None:
            self._replace_ties(self.refills.max_rounds)
        return bool(came)

    def _replace_ties(self, max_rounds: int) -> None:
        """Replace each tied group with another prompt; with `max_lag` 0, only once a whole round is ready."""
        if self.max_lag == 0 and self._num_ready < len(self._entries):
            return
        rounds: list[int] = []
        for ticket, entry in list(self._entries.items()):
            if not entry.ready or entry.ties:
                continue
            if not entry.group.is_dropped and not tied(entry.group.score.rewards):
                continue
            if entry.round < max_rounds:
                del self._entries[ticket]
                self._num_ready -= 1
                rounds.append(entry.round + 1)
            if not entry.group.is_dropped:
                self._tying.append(entry)
            if entry.round == max_rounds:
                # With `max_lag` 0 all groups have one version, so the earliest prompt completes the batch. Otherwise
                # take the newest: an older one might exceed the lag before it is used.
                filler = self._tying.pop(0 if self.max_lag == 0 else -1) if self._tying else entry
                filler.ties = True
                self._entries[ticket] = filler
        self._ask_for(rounds)


def open_prompts(
    job: RlJob, collector: Collector, run: Run
) -> AbstractContextManager[PromptSource]:
    """Open the source for `rollout.max_lag` (None: synchronous) at the run's prompt position."""
    stream = open_stream(job, run)
    if job.rollout.max_lag is None:
        return nullcontext(PromptSource(job, collector, stream))
    return AsynchronousSource(
        job, collector, stream, first_step=run.first_step, ahead=run.prompts_ahead
    )
