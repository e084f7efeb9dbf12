"""Limits, ports, network interfaces, the environment, and Ray's token."""

from __future__ import annotations

import os
import resource
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from medray.doctor.finding import Finding, error, note, ok, warning
from medray.system.machine import describe_machine

MIN_OPEN_FILES = 8192
MIN_PROCESSES = 4096
PORTS = {6379: "Ray's control store", 8265: "Ray's dashboard and job submission", 8000: "Ray Serve"}
INTERFACE_KEYS = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")
TEMPORARY = "/tmp/ray"
SOCKET_PATH_BYTES = 107  # sun_path on Linux
SESSION_PATH_BYTES = 64  # session_..._pid/sockets/plasma_store


def check_limits() -> Iterator[Finding]:
    """Open files and processes that this user may have."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < MIN_OPEN_FILES:
        remedy = f"ulimit -n {min(65536, most) if most > 0 else 65536}"
        yield error(
            "open-files", f"at most {files} open files",
            "every Ray worker opens tens of sockets; beyond the limit, actors die with 'too many open files'",
            f"{remedy}; permanently: nofile in /etc/security/limits.conf; Docker: --ulimit nofile=65536",
        )  # fmt: skip
    else:
        yield ok("open-files", f"{files} open files allowed")
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if 0 < processes < MIN_PROCESSES:
        yield warning(
            "processes", f"at most {processes} processes and threads",
            "Ray and torch start hundreds of threads; an actor dies if one cannot be started",
            f"ulimit -u {MIN_PROCESSES} or more",
        )  # fmt: skip


def check_ports(ports: Mapping[int, str] | None = None) -> Iterator[Finding]:
    """Ports that a cluster on this machine listens on."""
    taken = {port: use for port, use in (ports or PORTS).items() if not _is_free(port)}
    for port, use in taken.items():
        yield note(
            f"port:{port}", f"port {port} ({use}) is in use",
            "either by a running cluster, which is fine, or by another program, which makes `ray up` fail",
            f"find the process with `ss -ltnp 'sport = :{port}'`",
        )  # fmt: skip
    if not taken:
        yield ok("ports", f"{', '.join(map(str, ports or PORTS))} are free")


def check_interfaces(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Interfaces that NCCL or gloo are told to use."""
    known = [name for _, name in socket.if_nameindex()]
    for key in INTERFACE_KEYS:
        asked = [n for n in environ.get(key, "").lstrip("=^").split(",") if n]
        absent = [n for n in asked if not any(k.startswith(n) for k in known)]
        if absent and not environ[key].startswith("^"):
            yield error(
                "interface", f"{key}={environ[key]}, but this machine has {', '.join(known)}",
                "learner ranks cannot connect and wait until their deadline",
                f"unset {key}, or set it to one of {', '.join(known)}",
            )  # fmt: skip


def check_threads(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Compute threads against cores."""
    cores, asked = int(describe_machine()["cores"]), environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > cores:
        yield warning(
            "threads", f"OMP_NUM_THREADS={asked} on {cores} cores",
            "threads that share a core wait for each other in every matrix product",
            "unset OMP_NUM_THREADS: medray sets workers.*.threads for each actor",
        )  # fmt: skip


def check_temporary(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Where Ray puts its sockets: the system limits the length of their paths."""
    folder = environ.get("RAY_TMPDIR", "")
    if len(folder.encode()) + SESSION_PATH_BYTES > SOCKET_PATH_BYTES:
        yield error(
            "ray-tmpdir", f"RAY_TMPDIR={folder} is {len(folder)} characters long",
            f"Ray creates sockets below it, and socket paths are limited to {SOCKET_PATH_BYTES} bytes",
            f"choose a path of at most {SOCKET_PATH_BYTES - SESSION_PATH_BYTES} characters, or unset it to use "
            f"{TEMPORARY}",
        )  # fmt: skip


def check_token(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Ray's token: who has it may run any code on the cluster, so nobody else may read it."""
    if environ.get("RAY_AUTH_MODE", "token") == "disabled":
        yield warning(
            "token", "RAY_AUTH_MODE=disabled", "anyone who can reach the cluster's ports can run code on it",
            "unset RAY_AUTH_MODE, then `ray get-auth-token --generate`",
        )  # fmt: skip
        return
    if environ.get("RAY_AUTH_TOKEN"):
        yield note(
            "token", "the token comes from RAY_AUTH_TOKEN",
            "every process of this user can read it from the environment",
            "store it in a file with mode 600 and set RAY_AUTH_TOKEN_PATH to its path",
        )  # fmt: skip
        return
    named = environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or "~/.ray/auth_token").expanduser()
    if not path.is_file() or path.stat().st_size == 0:
        state = "is empty" if path.is_file() else "does not exist"
        report = error if named else note
        yield report(
            "token", f"{path} {state}",
            "clusters require a token; a cluster on this machine creates one at its first start",
            "ray get-auth-token --generate; for a cluster on another machine, copy its token to this file (mode 600)",
        )  # fmt: skip
    elif path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) and not _is_shielded(path):
        yield warning(
            "token", f"{path} can be read by other users (mode {stat.S_IMODE(path.stat().st_mode):o})",
            "anyone with the token can run code on the cluster", f"chmod 600 {path}",
        )  # fmt: skip
    else:
        yield ok("token", f"{path} exists and is private")


def check_address(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """The cluster that RAY_ADDRESS names."""
    address = environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    if not address or address in ("auto", "local"):
        return
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            yield ok("cluster", f"{address} answers")
    except (OSError, ValueError):
        yield error(
            "cluster", f"RAY_ADDRESS={address} does not answer", "jobs would fail to connect to it",
            "start that cluster (`ray up cluster.yaml`), or unset RAY_ADDRESS to run on this machine",
        )  # fmt: skip


def _is_shielded(path: Path) -> bool:
    """Whether some folder above keeps everyone else out."""
    outsiders = stat.S_IXGRP | stat.S_IXOTH
    return any(not folder.stat().st_mode & outsiders for folder in path.resolve().parents)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
