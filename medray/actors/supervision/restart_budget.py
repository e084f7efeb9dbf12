"""How often actors of one kind may be replaced."""

from __future__ import annotations

from medray.actors.supervision.incidents import Incidents
from medray.errors import RestartBudgetExhausted, WorkerLost


class RestartBudget:
    """At most `most` deaths are made good; the next ends the run, and is noted as what it cost."""

    def __init__(self, most: int, incidents: Incidents) -> None:
        self.most = self.left = most
        self._incidents = incidents

    def use(self, who: str, doing: str, loss: WorkerLost) -> None:
        """Make good one more death.

        Args:
            who: the actor's name.
            doing: what it was doing.
            loss: its death.

        Raises:
            RestartBudgetExhausted: there were as many before.
        """
        if self.left <= 0:
            self._incidents.add("death", who, doing, "the run")
            raise RestartBudgetExhausted(
                f"{loss}; workers.max_restarts={self.most} deaths of its kind were made good before it"
            )
        self.left -= 1
