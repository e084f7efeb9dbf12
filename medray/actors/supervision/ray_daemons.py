"""Ray's own processes on the driver's node."""

from __future__ import annotations

from functools import cache

from ray._private.worker import global_worker

from medray.system.processes import ProcessId, processes_named


def local_daemons() -> dict[str, ProcessId]:
    """The raylet, and on the head node the GCS, of the session the driver belongs to."""
    node = global_worker.node
    return _daemons(node.get_session_dir_path()) if node is not None else {}


@cache
def _daemons(session: str) -> dict[str, ProcessId]:
    return {
        name: process
        for name in ("raylet", "gcs_server")
        for process in processes_named(name, argument=session)
    }
