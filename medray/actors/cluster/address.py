"""Addresses at which processes of one group find each other."""

from __future__ import annotations

import socket

import ray


def free_address() -> tuple[str, int]:
    """An address of this node that peers can rendezvous at."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return ray.util.get_node_ip_address(), probe.getsockname()[1]
