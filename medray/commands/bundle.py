"""The folder that is uploaded with a job: the code and the configuration, and nothing else."""

from __future__ import annotations

import fnmatch
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from medray.errors import ConfigError

PARTS = ("medray", "jobs", "serve_configs", "pyproject.toml")
LEFT_OUT = (
    "__pycache__",
    "*.pyc",
    ".*",
    "*.safetensors",
    "*.tensors",
    "*.gguf",
    "*.bin",
    "*.parquet",
)
MAX_BYTES = 64 * 2**20
SUBMITTED = "submitted"  # where files from outside the project go


@dataclass(frozen=True)
class Bundle:
    """What is uploaded, and the command line to run in it."""

    folder: Path
    arguments: tuple[str, ...]
    num_files: int
    num_bytes: int


def make_bundle(
    project: Path,
    target: Path,
    script: str,
    arguments: Sequence[str],
    include: Sequence[Path] = (),
    *,
    folder: Path | None = None,
) -> Bundle:
    """Copy the code into `target`, with the job's configuration and whatever else is asked for.

    A configuration outside the code is copied too, and the command line is changed to name the copy.

    Args:
        project: the checkout of medray.
        target: the folder that is uploaded; the job starts in it.
        script: relative to `folder` or `project`.
        arguments: of the script.
        include: files and folders, relative to `folder`. What lies in it keeps its place, so that modules can be
            imported there as here.
        folder: where the user works; None means in the project.

    Raises:
        ConfigError: the script or a file does not exist, or the whole is too large.
    """
    root = (folder or project).resolve()
    wanted = Path(script)
    places = [base / wanted for base in (root, project.resolve()) if (base / wanted).is_file()]
    if not places or wanted.is_absolute():
        raise ConfigError(f"{script} is not a script in {root}: pass one such as jobs/grpo.py")
    for part in PARTS:
        if (project / part).exists():
            _copy(project / part, target / part)
    for path in include:
        source = root / path
        if not source.exists():
            raise ConfigError(f"--include {path}: no such file under {root}")
        _copy(source, target / _place(root, source))
    if not (target / wanted).is_file():
        _copy(places[0], target / wanted)
    renamed = tuple(_with_config(root, target, arguments))
    files = [path for path in target.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if size > MAX_BYTES:
        largest = max(files, key=lambda path: path.stat().st_size)
        raise ConfigError(
            f"the upload would be {size / 2**20:.0f} MiB (largest: {largest.relative_to(target)}): put data and models "
            "on storage that the cluster can read"
        )
    return Bundle(target, renamed, len(files), size)


def own_modules(folder: Path, modules: Mapping[str, ModuleType] = sys.modules) -> list[Path]:
    """Top-level modules and packages in `folder` that are imported by now, medray's own left out; relative to it."""
    found: list[Path] = []
    for name in sorted({name.partition(".")[0] for name in modules} - {"__main__", *PARTS}):
        module = modules.get(name)
        origins = {getattr(module, "__file__", None), *getattr(module, "__path__", ())}
        inside = {Path(origin).resolve() for origin in origins if origin}
        for place in (Path(f"{name}.py"), Path(name)):
            if any(path.is_relative_to((folder / place).resolve()) for path in inside):
                found.append(place)
    return found


def _with_config(root: Path, target: Path, arguments: Sequence[str]) -> Iterator[str]:
    previous = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if previous in ("--config", "-c"):
            yield _config(root, target, argument)
        elif option == "--config" and equals:
            yield f"--config={_config(root, target, value)}"
        else:
            yield argument
        previous = argument


def _config(root: Path, target: Path, named: str) -> str:
    path = Path(named).expanduser()
    source = path if path.is_absolute() else root / path
    if not source.is_file():
        raise ConfigError(f"config file {named} does not exist")
    place = _place(root, source.resolve())
    if not (target / place).is_file():
        _copy(source, target / place)
    return str(place)


def _place(root: Path, source: Path) -> Path:
    absolute = source.resolve()
    return (
        absolute.relative_to(root)
        if absolute.is_relative_to(root)
        else Path(SUBMITTED, absolute.name)
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_ignored, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def _ignored(_: str, names: list[str]) -> set[str]:
    return {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT)}
