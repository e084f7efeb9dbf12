"""What every rank of a trained model is, before it holds anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medray.actors.cluster.address import free_address
from medray.actors.supervision.node_probe import MonitoredActor
from medray.storage.mirror import mirror_of


class Rank(MonitoredActor):
    """One process of several that train a model together."""

    def __init__(self, job: Any, rank: int) -> None:
        self.job = job
        self.rank = rank

    def rendezvous(self) -> tuple[str, int]:
        """An address of this node at which rank 0 can gather its peers."""
        return free_address()

    def bring(self, checkpoint: str | None, part: str = "") -> None:
        """Fetch a checkpoint from the run's mirror, if there is one: the driver's node may be another.

        Args:
            checkpoint: its folder; None does nothing.
            part: folder of the run folder that it belongs to; "" is the run's own.
        """
        if checkpoint is not None and (mirror := mirror_of(self.job, part)):
            mirror.fetch_checkpoint(Path(checkpoint).name)
