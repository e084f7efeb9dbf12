"""Whether a folder or file can be written, told without writing anything."""

from __future__ import annotations

import os
from pathlib import Path

from medray.errors import ConfigError


def require_writable(path: str | Path, key: str) -> None:
    """Check that a file or folder can be made at `path`, or written where it exists.

    Args:
        path: what will be written; missing parents would be made.
        key: the setting or option that errors name.

    Raises:
        ConfigError: a parent is a file, or the first folder that exists may not be written.
    """
    wanted = Path(path).expanduser().absolute()
    folder = wanted if wanted.is_dir() else wanted.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise ConfigError(
            f"{key}={path} cannot be written: {folder} is a file, not a folder: choose another path"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{key}={path} cannot be written: no write permission in {folder}: choose another folder"
        )


def require_new_folder(path: str | Path, key: str, *, may_be_empty: bool = False) -> None:
    """Check that a folder can be made at `path` and does not exist yet.

    Args:
        path: the folder.
        key: the setting or option that errors name.
        may_be_empty: an empty folder is as good as none.

    Raises:
        ConfigError: it exists, or it cannot be written.
    """
    wanted = Path(path).expanduser()
    is_empty = wanted.is_dir() and not any(wanted.iterdir())
    if wanted.exists() and not (may_be_empty and is_empty):
        raise ConfigError(f"{key}={path} exists: remove it, or choose another folder")
    require_writable(path, key)
