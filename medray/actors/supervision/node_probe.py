"""Eyes on one node: a process beside the actors that sees what they cannot say themselves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import ray

from medray.actors.supervision.incidents import Incidents
from medray.actors.supervision.memory import own_peak
from medray.observability.logging import setup_from_environment
from medray.system.processes import STATES, STOPPED, ProcessId, kill, stack_of, state_of


@dataclass(frozen=True)
class ProcessLocation:
    """Node, host and process of an actor."""

    node: str  # Ray's id of the node
    host: str  # its address
    process: ProcessId

    def __str__(self) -> str:
        return f"pid {self.process.pid} on {self.host}"


def here() -> ProcessLocation:
    """Locate the calling process."""
    node = ray.get_runtime_context().get_node_id()
    return ProcessLocation(node, ray.util.get_node_ip_address(), ProcessId.of(os.getpid()))


class MonitoredActor:
    """What every actor that is watched can say; the first call an actor gets."""

    def location(self) -> ProcessLocation:
        """Where this actor runs. The first call an actor gets, so its logging begins here."""
        setup_from_environment()
        return here()

    def peak_memory(self) -> dict[str, int]:
        """Bytes at their peak: `host`, and `gpu` where there is one."""
        return own_peak()


@ray.remote(num_cpus=0)
class NodeProbe(MonitoredActor):
    """Looks at processes of its node."""

    def look(self, processes: Mapping[str, ProcessId]) -> dict[str, str]:
        """State of each named process, as `processes.STATES` lists them."""
        return {name: state_of(process) for name, process in processes.items()}

    def stack(self, process: ProcessId) -> str:
        """Dump the Python stack of a process on this node."""
        return stack_of(process)

    def kill(self, process: ProcessId) -> bool:
        """End a process, stopped or not."""
        return kill(process)

    def guard(self, driver: ProcessId, folder: str, patience_s: float) -> None:
        """From now on, note in the run folder when the driver, which lives on this node, is stopped."""
        threading.Thread(
            target=_guard, args=(driver, folder, patience_s), daemon=True, name="guard"
        ).start()


def _guard(driver: ProcessId, folder: str, patience_s: float) -> None:
    incidents = Incidents(folder)
    since: float | None = None
    noted = False
    while state := state_of(driver):
        if state not in STOPPED:
            since, noted = None, False
        elif since is None:
            since = time.monotonic()
        elif not noted and time.monotonic() - since >= patience_s:
            incidents.add(
                "frozen", "driver", f"{STATES[state]} for {patience_s:g} s",
                "the run is stopped until it is continued (kill -CONT)",
                pid=driver.pid, stack=stack_of(driver),
            )  # fmt: skip
            noted = True
        time.sleep(patience_s / 4)
