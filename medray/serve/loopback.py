"""A single-machine Ray that no other machine can reach.

Ray Serve's replicas call each other over unauthenticated gRPC and unpickle what they receive, yet each opens its port
on every interface (`[::]:0`, ray-project/ray#59908). When Ray itself listens on 127.0.0.1 only, so must the replicas.
"""

from __future__ import annotations

import os

LOOPBACK_RAY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray reads it at import, and workers inherit it. With 0, Ray opens its own ports on 127.0.0.1 only."""


def choose_loopback() -> None:
    """Make the Ray that this process starts listen on this machine only; call before Ray is imported."""
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault(LOOPBACK_RAY, "0")


def keep_replica_on_loopback() -> None:
    """Make this process's replica open its port on 127.0.0.1 if Ray was started that way."""
    if os.environ.get(LOOPBACK_RAY) != "0":
        return
    from ray._common.tls_utils import add_port_to_grpc_server
    from ray.serve._private import replica

    def add_loopback_port(server: object, address: str) -> int:
        return add_port_to_grpc_server(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = add_loopback_port  # type: ignore[attr-defined]
