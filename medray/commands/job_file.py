"""A job's YAML whose kind its name tells: `grpo_smollm2_cpu.yaml` is a grpo job."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from medray.commands.check_config import JOBS, job_schema
from medray.errors import ConfigError

if TYPE_CHECKING:
    from medray.config.base import Section


def load_job(path: Path, overrides: Iterable[str] = (), kind: str | None = None) -> Section:
    """The checked job of a YAML file.

    Args:
        path: the file.
        overrides: `key=value`.
        kind: the job's name; None takes the file name up to the first `_`.

    Raises:
        ConfigError: the file is missing or wrong, or its name tells no job.
    """
    from medray.config.loader import load_config

    if not path.is_file():
        raise ConfigError(f"config file {path} does not exist: check it and the working directory")
    named = kind or path.stem.partition("_")[0]
    if kind is None and named not in JOBS:
        raise ConfigError(
            f"{path.name} does not start with the name of a job: pass --job, one of {', '.join(JOBS)}"
        )
    return load_config(job_schema(named), path, overrides)
