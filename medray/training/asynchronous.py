"""Generation that runs ahead of training: a source whose groups come from a stream that never stops.

    prompts -> [asked for] -> engines -> graders, reference, critic -> [ready] -> batch -> learner
                  ^                                                                  |
                  +--------------- one more for each that was trained on ------------+

The training loop is the same; its source of groups differs. A thread keeps up to
`prompts_per_step * (max_lag + 1)` groups on their way, whatever the loop is doing. Engines take new weights between two
tokens and go on, so a response may hold tokens of several versions; each keeps the log-probability it was drawn with.
A critic values a group once it is sampled, so its values, as the tokens, are of weights up to `max_lag` versions old.
`staleness.choose` makes batches.
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
from medray.config.rl import RlJob
from medray.data.batches.stream import PromptStream
from medray.engines.base import prompt_seed
from medray.errors import DeadlineExceeded, GraderError
from medray.losses.advantages import tied
from medray.training.sampling import PromptSource, SampledStep
from medray.training.staleness import Waiting, choose
from medray.training.steps import Run
from medray.types import Prompt


@dataclass
class _Entry:
    position: int
    group: GroupHandle
    version: int  # the oldest that a token of it may be of
    round: int  # 1, or one more than that of the tying group it replaces
    ready: bool = False
    ties: bool = False  # it fills a batch, for want of rounds


class AsynchronousSource(PromptSource):
    """A `PromptSource` that samples ahead, in a thread of its own between `__enter__` and `__exit__`.

    Every prompt of the stream is trained on once, or dropped and counted; which ones were used out of their order is
    part of a checkpoint, so that holds across a restart.
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
        self.ahead = set(ahead)  # positions from the stream's on that were trained on before
        self._entries: dict[int, _Entry] = {}  # by ticket
        self._num_ready = 0  # of the entries
        self._tying: list[_Entry] = []  # replaced, to be reported with the next batch
        self._inbox: Inbox = deque()
        self._changed = threading.Condition(threading.RLock())
        self._failure: Exception | None = None
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
        """Told whenever the engines are given new weights: there is room for another batch's groups."""
        with self._changed:
            self.version = version
            if self.max_lag > 0:
                self._fill()

    @property
    def position(self) -> Mapping[str, Any]:
        """The first prompt that is not done with, and those after it that are."""
        with self._changed:
            pending = {entry.position for entry in self._entries.values()}
            end = self.stream.position
            first = min(pending, default=end)
            ahead = [p for p in range(first, end) if p not in pending]
            return {"prompt_position": first, "prompts_ahead": ahead}

    # A batch --------------------------------------------------------------------------------

    def next_groups(self) -> SampledStep:
        """The groups of the next batch, once enough of them are there."""
        with self._changed:
            self._fill()
            while (tickets := self._choose()) is None:
                self._raise_failure()
                self._changed.wait(POLL_S)
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
        return SampledStep(kept, rest, counts)

    @property
    def _may_do(self) -> bool:
        """Whether enough groups are ready for a batch; which ones, `choose` knows."""
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
                self._failure = failure
                self._changed.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._thread.is_alive():
            raise DeadlineExceeded("the thread that drives the rollouts has ended")

    def _fill(self) -> None:
        """Ask for as many groups as the age limit has room for, and the run has use for."""
        batches = min(self.max_lag + 1, self.batches_left)
        self._ask_for([1] * (self.size * batches - len(self._entries)))

    def _ask_for(self, rounds: list[int]) -> None:
        """Ask for the next prompts, one a member of `rounds`."""
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
        """Note the groups that have come; True when there are any."""
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
        """Ask for another prompt in the place of each group without a signal; without lag, a whole round at a time."""
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
                # Without lag all are of one version, and the earliest may complete the batch.
                filler = self._tying.pop(0 if self.max_lag == 0 else -1) if self._tying else entry
                filler.ties = True
                self._entries[ticket] = filler
        self._ask_for(rounds)


def open_prompts(
    job: RlJob, collector: Collector, run: Run
) -> AbstractContextManager[PromptSource]:
    """The source that `rollout.max_lag` asks for, from where the run stands."""
    stream = PromptStream(run.prompts.train, job.seed, position=run.prompt_position)
    if job.rollout.max_lag is None:
        return nullcontext(PromptSource(job, collector, stream))
    return AsynchronousSource(
        job, collector, stream, first_step=run.first_step, ahead=run.prompts_ahead
    )
