"""How often actors of one kind may be replaced."""

from __future__ import annotations

from medray.actors.supervision.incidents import Incidents
from medray.errors import RestartBudgetExhausted, WorkerLost


class RestartBudget:
    """Allows `most` restarts; one more death ends the run, and the incident says so."""

    def __init__(self, most: int, incidents: Incidents) -> None:
        self.most = self.left = most
        self._incidents = incidents

    def use(self, who: str, doing: str, loss: WorkerLost) -> None:
        """Use one restart.

        Args:
            who: the actor's name.
            doing: what it was doing.
            loss: its death.

        Raises:
            RestartBudgetExhausted: none is left.
        """
        if self.left <= 0:
            self._incidents.add("death", who, doing, "the run")
            raise RestartBudgetExhausted(
                f"{loss}; this actor type was already restarted {self.most} times (workers.max_restarts)"
            )
        self.left -= 1
