"""More or fewer rollout workers while a run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medray.actors.health import State
from medray.observability.control import Wanted, report_workers

if TYPE_CHECKING:
    from medray.actors.member import Member
    from medray.actors.rollouts import RolloutPool


class Scaler:
    """Follows what `medray scale` asks for.

    A worker that is added serves once it holds the newest verified weights, like one that came back from the dead.
    One that is taken away first ends the order it works on, so that nothing is lost.
    """

    def __init__(self, pool: RolloutPool, folder: str | Path) -> None:
        self.pool = pool
        self.folder = Path(folder)
        self.wanted = Wanted(self.folder)
        self.num_workers = len(pool.members)
        self._told: list[tuple[str, State]] = []

    def follow(self, busy: set[str]) -> None:
        """Start and dismiss workers as asked.

        Args:
            busy: names of workers that have an order.
        """
        asked = self.wanted.rollouts()
        if asked is not None:
            self._change(asked)
        for member in [m for m in self.leaving() if m.name not in busy]:
            self.pool.members.remove(member)
            self.pool.dismiss(member)
            self.pool.incidents.add("scale", member.name, "leave", "nothing")
        self._tell()

    def _change(self, asked: int) -> None:
        pool = self.pool
        if not pool.can_revive:
            pool.incidents.add(
                "scale",
                "rollouts",
                f"asked for {asked}",
                "refused: needs sync.backend=object_store",
            )
            return
        self.num_workers = asked
        taken = {m.index for m in pool.members}
        for index in range(asked):
            if index not in taken:
                pool.members.append(pool.recruit(index))
                pool.incidents.add("scale", f"rollout-{index}", "join", "nothing")

    def leaving(self) -> list[Member]:
        """Workers beyond the number wanted, as long as others serve."""
        members, num = self.pool.members, self.num_workers
        beyond = [m for m in members if m.index >= num]
        if beyond and any(m.state is State.SERVING and m.index < num for m in members):
            return beyond
        return []

    def _tell(self) -> None:
        states = [(m.name, m.state) for m in self.pool.members]
        if states != self._told:
            self._told = states
            report_workers(
                self.folder, self.num_workers, [{"name": n, "state": s.value} for n, s in states]
            )
