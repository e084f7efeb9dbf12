"""Jobs on a cluster, through its job server: submit, follow, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medray.errors import ClusterError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
POLL_S = 1.0
LOST_S = 120.0  # how long a cluster may be out of reach while a job is followed
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
STOPPED_CODE = 130
CHATTY = (  # tell of every upload
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)


@dataclass(frozen=True)
class JobState:
    """One job, as the cluster tells it."""

    id: str
    status: str  # PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED
    message: str
    entrypoint: str
    metadata: Mapping[str, str]
    exit_code: int | None  # of the driver, once it has ended

    @property
    def code(self) -> int:
        """What a command that waited for the job ends with: the job's own exit code."""
        if self.status == "SUCCEEDED":
            return 0
        if self.status == "STOPPED":
            return STOPPED_CODE
        return self.exit_code or 1


class Cluster:
    """The job server of a running cluster.

    Raises:
        ClusterError: it cannot be reached, or does not accept the token.
    """

    def __init__(self, address: str | None = None) -> None:
        if has_token():  # without it the client would not even send the token
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        from ray.job_submission import JobSubmissionClient

        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.address = address or job_server_address(os.environ)
        try:
            self._client = JobSubmissionClient(self.address)
        except (ConnectionError, RuntimeError) as error:
            raise _explained(error, self.address) from None

    def submit(
        self,
        entrypoint: str,
        working_dir: Path,
        *,
        metadata: Mapping[str, str],
        environ: Mapping[str, str],
    ) -> str:
        """Upload the folder and start the job; returns its id."""
        runtime: dict[str, Any] = {"working_dir": str(working_dir), "env_vars": dict(environ)}
        return self._ask(
            lambda: self._client.submit_job(
                entrypoint=entrypoint, runtime_env=runtime, metadata=dict(metadata)
            )
        )

    def jobs(self) -> list[JobState]:
        """All jobs that were submitted, newest first."""
        found = [j for j in self._ask(self._client.list_jobs) if j.submission_id]
        found.sort(key=lambda job: job.start_time or 0, reverse=True)
        return [_state(job.submission_id, job) for job in found]

    def state(self, job: str) -> JobState:
        """How a job stands.

        Raises:
            ClusterError: there is no such job.
        """
        return _state(job, self._ask(lambda: self._client.get_job_info(job)))

    def stop(self, job: str) -> None:
        """Ask a job to end; it writes nothing more, and continues from its last checkpoint when submitted again."""
        self._ask(lambda: self._client.stop_job(job))

    def logs(self, job: str) -> str:
        """Everything the job has printed."""
        return self._ask(lambda: self._client.get_job_logs(job))

    def follow(self, job: str, show: Callable[[str], None]) -> JobState:
        """Show a job's output until it has ended; a connection that breaks is opened again.

        Raises:
            ClusterError: the cluster was out of reach for two minutes.
        """
        shown = 0
        lost_at: float | None = None
        while True:
            try:
                shown = asyncio.run(self._tail(job, shown, show))
                state = self.state(job)
                lost_at = None
            except ClusterError:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > LOST_S:
                    raise
                time.sleep(POLL_S)
                continue
            if state.status in ENDED:
                self._rest(job, shown, show)
                return state
            time.sleep(POLL_S)

    async def _tail(self, job: str, shown: int, show: Callable[[str], None]) -> int:
        """Show what comes after the first `shown` characters; returns how many there were when the stream ended."""
        seen = 0
        try:
            async for text in self._client.tail_job_logs(job):
                seen += len(text)
                if seen > shown:
                    show(text[-(seen - shown) :])
                    shown = seen
        except (
            Exception
        ) as error:  # the client's own, aiohttp's and the system's: all mean a lost connection
            raise _explained(error, self.address) from None
        return shown

    def _rest(self, job: str, shown: int, show: Callable[[str], None]) -> None:
        rest = self.logs(job)[shown:]
        if rest:
            show(rest)

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            raise _explained(error, self.address) from None


def job_server_address(environ: Mapping[str, str]) -> str:
    """RAY_API_SERVER_ADDRESS or an http RAY_ADDRESS, else this machine's."""
    named = environ.get("RAY_API_SERVER_ADDRESS") or environ.get("RAY_ADDRESS", "")
    return named if named.startswith("http") else DEFAULT_ADDRESS


def has_token() -> bool:
    """Whether there is a token to send."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or Path(named).expanduser().is_file()


def running_in(jobs: Iterable[JobState], out: str) -> JobState | None:
    """The job that works in the run folder `out` now, if any."""
    return next((j for j in jobs if j.metadata.get("out") == out and j.status not in ENDED), None)


def _state(name: str, found: Any) -> JobState:
    status = getattr(found.status, "value", str(found.status))
    return JobState(
        name,
        status,
        found.message or "",
        found.entrypoint,
        found.metadata or {},
        found.driver_exit_code,
    )


def _explained(error: Exception, address: str) -> ClusterError:
    text = " ".join(str(error).split())
    if "does not exist" in text:
        return ClusterError("no such job on this cluster: `medray job list` shows them")
    if any(sign in text for sign in ("401", "403", "nauthenticated", "uthentication", "token")):
        return ClusterError(
            f"{address} does not accept the token: put the cluster's into ~/.ray/auth_token (mode 600), or name its "
            "file in RAY_AUTH_TOKEN_PATH"
        )
    if isinstance(error, ConnectionError) or "connect" in text.lower():
        return ClusterError(
            f"no job server at {address}: start the cluster (`ray up cluster.yaml`), open a tunnel to its dashboard "
            "(`ray dashboard cluster.yaml`), or give --address"
        )
    return ClusterError(f"{address}: {text[:300]}")
