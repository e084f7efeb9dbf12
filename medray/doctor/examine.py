"""All checks, one after another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from medray.config.model import ModelConfig
from medray.doctor import hardware, model, software, system
from medray.doctor.finding import Finding, error, ok
from medray.doctor.smoke import check_smoke
from medray.errors import ConfigError, first_line


@dataclass(frozen=True)
class Subject:
    """What is looked at: the machine, and the model and folders of a job."""

    model: ModelConfig = field(default_factory=ModelConfig)
    out: Path = Path("runs")
    constraints: Path | None = None
    smoke: bool = True
    build: Callable[[], None] | None = None  # makes the job's plug-ins
    only: tuple[str, ...] = ()  # names of checks; empty means all


def examine(
    subject: Subject, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Finding]:
    """Findings as they come; a check that breaks is a finding itself.

    Args:
        subject: what to look at.
        progress: told the name of each check before it runs.

    Raises:
        ConfigError: `only` names a check that does not exist.
    """
    checks = _checks(subject)
    unknown = [name for name in subject.only if name not in checks]
    if unknown:
        raise ConfigError(f"unknown check {unknown[0]!r}: use one of {', '.join(checks)}")
    for name in subject.only or checks:
        progress(name)
        try:
            yield from checks[name]()
        except Exception as broken:  # one broken check must not hide the others
            reason = f"{type(broken).__name__}: {first_line(broken)}"
            yield error(
                name, f"this check failed ({reason})", "the state of this part is unknown", "report it"
            )  # fmt: skip


def _checks(subject: Subject) -> dict[str, Callable[[], Iterable[Finding]]]:
    wanted = subject.model
    folders = {"runs": subject.out, "temporary": Path(tempfile.gettempdir())}
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "python": software.check_python,
        "packages": partial(software.check_packages, subject.constraints),
        "vision": software.check_vision,
        "cpu": partial(hardware.check_cpu, wanted.dtype, wanted.device),
        "gpu": partial(hardware.check_gpu, wanted.device),
        "memory": hardware.check_memory,
        "shm": hardware.check_shm,
        "disk": partial(hardware.check_disk, folders),
        "limits": system.check_limits,
        "ports": system.check_ports,
        "interfaces": system.check_interfaces,
        "threads": system.check_threads,
        "ray-tmpdir": system.check_temporary,
        "token": system.check_token,
        "cluster": system.check_address,
        "model": partial(model.check_model, wanted),
    }
    if subject.build is not None:
        checks["plug-ins"] = partial(check_plugins, subject.build)
    if subject.smoke:
        checks["smoke"] = check_smoke
    return checks


def check_plugins(build: Callable[[], None]) -> Iterator[Finding]:
    """Whether everything that the job names as `package.module:name`, or by a registered name, can be made."""
    try:
        build()
    except ConfigError as broken:
        yield error(
            "plug-ins", str(broken), "the job would stop before its first step",
            "correct that key; your own modules are imported from the current folder",
        )  # fmt: skip
    else:
        yield ok("plug-ins", "rewards, data, environment and components of the job can be created")
