"""Logging of the `medray` package: plain lines for people, JSON lines for machines.

Metrics go to sinks, not here, and the text of prompts and responses is never logged: rollouts have
their own files. The environment variable MEDRAY_LOG=LEVEL[:FORMAT], such as `debug` or `info:json`, sets level
and format of every process of a job.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO, cast, get_args

from medray.errors import ConfigError

LOG_VARIABLE = "MEDRAY_LOG"
Style = Literal["plain", "json"]
_ROOT = "medray"
_LEVELS = ("debug", "info", "warning", "error")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def get_logger(name: str) -> logging.Logger:
    """The logger of a module: pass `__name__`."""
    return logging.getLogger(name if name.split(".")[0] == _ROOT else f"{_ROOT}.{name}")


def setup_from_environment(default_level: str = "info") -> None:
    """Set up logging as $MEDRAY_LOG says, at `default_level` in plain lines where it is unset.

    Drivers and commands call it first; in an actor it is part of the first call that the actor gets.

    Raises:
        ConfigError: the variable names no level or format.
    """
    wanted = os.environ.get(LOG_VARIABLE, "")
    level, _, style = wanted.lower().partition(":")
    level, style = level or default_level, style or "plain"
    if level not in _LEVELS or style not in get_args(Style):
        raise ConfigError(
            f"{LOG_VARIABLE}={wanted}: expected LEVEL or LEVEL:FORMAT, the level one of {', '.join(_LEVELS)}, "
            f"the format one of {', '.join(get_args(Style))}"
        )
    setup_logging(level, cast(Style, style))


def setup_logging(
    level: str = "INFO", style: Style = "plain", stream: TextIO | None = None
) -> None:
    """Send what medray logs at `level` or above to `stream` (stderr), one line a record.

    Only the `medray` logger is touched; calling it again replaces the earlier set-up.

    Args:
        level: name of a standard level, any case.
        style: "plain" for `12:03:04 WARNING actors.groups: text key=value`, "json" for one object a
            line.
        stream: where to; None takes stderr.

    Raises:
        ValueError: unknown level.
    """
    logger = logging.getLogger(_ROOT)
    logger.setLevel(level.upper())
    handler = logging.StreamHandler(stream) if stream else _StderrHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else PlainFormatter())
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    # Ray and libraries put handlers on the root logger; passing on would print every line twice.
    logger.propagate = False


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to stderr past a redirection of its file descriptor, which hides what Ray prints while it starts.

    Where `sys.stderr` itself was replaced since (rich does so to keep its display whole), to the replacement.
    """

    def __init__(self) -> None:
        self._stderr = self._copy = sys.stderr
        with contextlib.suppress(OSError, io.UnsupportedOperation, AttributeError):
            self._copy = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
        super().__init__(self._copy)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = self._copy if sys.stderr is self._stderr else sys.stderr
        super().emit(record)

    def close(self) -> None:
        if self._copy is not self._stderr:
            self._copy.close()
        super().close()


class PlainFormatter(logging.Formatter):
    """`HH:MM:SS LEVEL module: message key=value`; an exception is named at the end of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without the package's own name and without a traceback unless DEBUG is on."""
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        source = record.name.removeprefix(f"{_ROOT}.")
        text = " ".join(record.getMessage().split("\n"))
        line = f"{clock} {record.levelname} {source}: {text}"
        line += "".join(f" {key}={value}" for key, value in _extras(record).items())
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line += f" ({type(error).__name__}: {' '.join(str(error).split())})"
            if logging.getLogger(_ROOT).isEnabledFor(logging.DEBUG):
                line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, `extra` keys, traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """The object on one line; values JSON does not know are written as text."""
        row: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            row["exception"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False, default=str)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    # A leading underscore marks what libraries add for themselves, as Ray does once it is imported.
    return {k: v for k, v in vars(record).items() if k not in _STANDARD and not k.startswith("_")}
