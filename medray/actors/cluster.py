"""Joining the cluster that runs the job, or starting one on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray


@contextmanager
def connected() -> Iterator[None]:
    """Use the cluster named by RAY_ADDRESS (as `ray job submit` sets it), else start one and stop it after."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    settings = {
        "log_to_driver": bool(os.environ.get("MEDRAY_VERBOSE")),
        "logging_level": logging.ERROR,
    }
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**settings)
    else:
        ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", **settings)
    try:
        yield
    finally:
        ray.shutdown()
