"""Joining the cluster that runs the job, or starting one on this machine."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from medray.system.ray_token import keep_token_private

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray's own name, set in the driver of a submitted job
ANSWER_S = 10


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
    with _stderr_kept_back(), _sigterm_kept():
        if os.environ.get("RAY_ADDRESS"):
            ray.init(**settings)
        else:
            keep_token_private()
            ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", **settings)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """A handler of SIGTERM outlives the block: Ray's own would end the driver with a code that says nothing."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def submitted_at() -> float | None:
    """When the job that runs this process was submitted (seconds since the epoch); None where Ray does not say."""
    try:
        job = json.loads(os.environ[JOB_CONFIG])["metadata"]["job_submission_id"]
        from ray.util.state import get_job

        found: Any = get_job(job, timeout=ANSWER_S)
        return found.start_time / 1000
    except Exception:  # no job, or a dashboard that does not answer: a run must not end of it
        return None


@contextmanager
def _stderr_kept_back() -> Iterator[None]:
    """Show what is written to stderr only if the block fails: Ray's core warns of a machine without a network."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        stderr = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
