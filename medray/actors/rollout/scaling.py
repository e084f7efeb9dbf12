"""More or fewer rollout workers while a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medray.actors.rollout.state import State
from medray.actors.rollout.worker import RolloutWorker
from medray.actors.supervision.incidents import Incidents
from medray.storage.control import Wanted, report_workers


class Scaler:
    """Follows what `medray scale` asks for.

    A worker that is added serves only once it holds the newest verified weights, like a restarted one. A worker that
    is removed first finishes the groups it holds, so nothing is lost.
    """

    def __init__(
        self,
        workers: list[RolloutWorker],
        folder: str | Path,
        incidents: Incidents,
        *,
        recruit: Callable[[int], RolloutWorker] | None,
        dismiss: Callable[[RolloutWorker], None],
    ) -> None:
        """Take charge of the pool's list of workers, which it appends to and removes from.

        Args:
            workers: the pool's own list, shared.
            folder: run folder, where requests are read and states are reported.
            incidents: where joins, leaves and refusals are recorded.
            recruit: starts the worker of an index; None where workers cannot join a run (their weights come by a
                process group that is fixed at start).
            dismiss: ends an idle worker.
        """
        self.workers = workers
        self.folder = Path(folder)
        self.incidents = incidents
        self.wanted = Wanted(self.folder)
        self.num_workers = len(workers)
        self._recruit = recruit
        self._dismiss = dismiss
        self._reported: list[tuple[str, State]] = []

    def follow(self, busy: set[str]) -> None:
        """Start and dismiss workers as requested.

        Args:
            busy: names of workers that hold groups.
        """
        requested = self.wanted.rollouts()
        if requested is not None:
            self._change(requested)
        for worker in [m for m in self.leaving() if m.name not in busy]:
            self.workers.remove(worker)
            self._dismiss(worker)
            self.incidents.add("scale", worker.name, "leave", "nothing")
        self._report()

    def _change(self, requested: int) -> None:
        if self._recruit is None:
            refusal = "refused: needs sync.backend=object_store"
            self.incidents.add("scale", "rollouts", f"asked for {requested}", refusal)
            return
        self.num_workers = requested
        taken = {m.index for m in self.workers}
        for index in range(requested):
            if index not in taken:
                self.workers.append(self._recruit(index))
                self.incidents.add("scale", f"rollout-{index}", "join", "nothing")

    def leaving(self) -> list[RolloutWorker]:
        """Workers beyond the requested number, as long as others serve."""
        beyond = [m for m in self.workers if m.index >= self.num_workers]
        if beyond and any(
            m.state is State.SERVING and m.index < self.num_workers for m in self.workers
        ):
            return beyond
        return []

    def _report(self) -> None:
        states = [(m.name, m.state) for m in self.workers]
        if states != self._reported:
            self._reported = states
            report_workers(
                self.folder, self.num_workers, [{"name": n, "state": s.value} for n, s in states]
            )
