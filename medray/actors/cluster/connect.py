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

from medray.errors import ClusterError, first_line
from medray.system.ray_token import keep_token_private

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray's own name, set in the driver of a submitted job
ANSWER_S = 10


@contextmanager
def connected() -> Iterator[None]:
    """Use the cluster named by RAY_ADDRESS (as `ray job submit` sets it), else start one and stop it after.

    Raises:
        ClusterError: the cluster does not answer, or Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Leave CUDA_VISIBLE_DEVICES alone in actors without a GPU, Ray's coming default; unset, every actor prints a
    # FutureWarning (ray-project/ray#54928).
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    settings = {
        "log_to_driver": bool(os.environ.get("MEDRAY_VERBOSE")),
        "logging_level": logging.ERROR,
    }
    with _stderr_kept_back(), _sigterm_kept():
        if os.environ.get("RAY_ADDRESS"):
            start_ray(**settings)
        else:
            keep_token_private()
            start_ray(include_dashboard=False, _node_ip_address="127.0.0.1", **settings)
    try:
        yield
    finally:
        ray.shutdown()


def start_ray(**settings: Any) -> None:
    """Call `ray.init`, and say in one line why it fails.

    Raises:
        ClusterError: the cluster at RAY_ADDRESS does not answer, or a Ray on this machine does not start.
    """
    try:
        ray.init(**settings)
    except (
        Exception
    ) as error:  # of any class: a node that takes over 30 s to start is a bare Exception
        ray.shutdown()
        address = os.environ.get("RAY_ADDRESS")
        what, remedy = (
            "Ray does not start",
            "is the machine busy? wait for other work, then start it again",
        )
        if address:
            what, remedy = (
                f"RAY_ADDRESS={address}",
                "is the cluster up? correct the address, or unset it",
            )
        raise ClusterError(
            f"{what} ({first_line(error)}): {remedy} (MEDRAY_VERBOSE=1 shows Ray's own messages)"
        ) from error


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep the SIGTERM handler across the block: with Ray's own, the exit code would not tell a stop from a failure."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def submitted_at() -> float | None:
    """Submission time of the Ray job that runs this process, in seconds since the epoch; None if unknown."""
    try:
        job = json.loads(os.environ[JOB_CONFIG])["metadata"]["job_submission_id"]
        from ray.util.state import get_job

        found: Any = get_job(job, timeout=ANSWER_S)
        return found.start_time / 1000
    except (
        Exception
    ):  # not a submitted job, or the dashboard does not answer; never a reason to fail the run
        return None


@contextmanager
def _stderr_kept_back() -> Iterator[None]:
    """Hold stderr back and show it only if the block fails in an unknown way.

    Ray's core warns on machines without a network.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        stderr = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException as error:
            if not isinstance(error, ClusterError) or os.environ.get("MEDRAY_VERBOSE"):
                kept.seek(0)
                os.write(stderr, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
