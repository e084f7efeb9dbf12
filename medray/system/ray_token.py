"""Ray's token for clusters started here: it lets anyone run code, so nobody else may read it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SET_ELSEWHERE = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def keep_token_private() -> None:
    """Have `~/.ray/auth_token` exist with mode 0600; call before Ray starts, which would make it readable to all."""
    if any(os.environ.get(name) for name in SET_ELSEWHERE):
        return
    path = Path.home() / ".ray" / "auth_token"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(32))
