"""What a check has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How bad it is; the worst one is the exit code of `medray doctor`, a note counting as 0."""

    OK = -1
    NOTE = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """One result of a check: what was seen, why that matters, and what to do about it."""

    check: str  # stable name, such as "shm"
    severity: Severity
    what: str
    why: str = ""
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON types, the severity as a lower-case name."""
        return asdict(self) | {"severity": self.severity.name.lower()}


def ok(check: str, what: str) -> Finding:
    """Build the finding of a check that passed."""
    return Finding(check, Severity.OK, what)


def note(check: str, what: str, why: str = "", fix: str = "") -> Finding:
    """Worth knowing; nothing has to be done."""
    return Finding(check, Severity.NOTE, what, why, fix)


def warning(check: str, what: str, why: str, fix: str) -> Finding:
    """A job runs, but slower, less safely or otherwise than meant."""
    return Finding(check, Severity.WARNING, what, why, fix)


def error(check: str, what: str, why: str, fix: str) -> Finding:
    """Build a finding that makes a job fail; `medray doctor` then exits with code 2.

    Args:
        check: name of the check.
        what: what was found.
        why: what fails because of it.
        fix: command or setting that fixes it.
    """
    return Finding(check, Severity.ERROR, what, why, fix)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 with nothing worse than a note, 1 with warnings, 2 with errors."""
    return max([Severity.NOTE, *(f.severity for f in findings)]).value
