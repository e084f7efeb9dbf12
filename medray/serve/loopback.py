"""A Ray of one machine that no other machine can reach.

Ray Serve's replicas call each other over gRPC without authentication, and unpickle what they are sent; their port is
opened on every interface. Where Ray itself keeps to 127.0.0.1, so must they.
"""

from __future__ import annotations

import os

LOOPBACK_RAY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Read when Ray is imported, inherited by its workers. At 0 Ray opens its own ports on 127.0.0.1 alone."""


def choose_loopback() -> None:
    """Have the Ray that this process will start keep to this machine; call before Ray is imported."""
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault(LOOPBACK_RAY, "0")


def keep_replica_on_loopback() -> None:
    """Have the replica in this process open its port on 127.0.0.1, if that is how Ray was started."""
    if os.environ.get(LOOPBACK_RAY) != "0":
        return
    from ray._common.tls_utils import add_port_to_grpc_server
    from ray.serve._private import replica

    def add_loopback_port(server: object, address: str) -> int:
        return add_port_to_grpc_server(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = add_loopback_port  # type: ignore[attr-defined]
