"""Bearer tokens: where they come from, and their digests, which is all that servers hold."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from medray.config.serve import AuthConfig
from medray.errors import ConfigError

MIN_LENGTH = 16


def token_digests(auth: AuthConfig, *, create: bool = False) -> tuple[str, ...]:
    """SHA-256 digests of the tokens that may ask; empty where authentication is off.

    Args:
        auth: where the tokens are.
        create: make the token file, with one random token, where there is none.

    Raises:
        ConfigError: no token is set, or one is too short to be a secret.
    """
    if not auth.enabled:
        return ()
    return tuple(digest(token) for token in read_tokens(auth, create=create))


def read_tokens(auth: AuthConfig, *, create: bool = False) -> list[str]:
    """The tokens themselves, for a client on this machine."""
    path = Path(auth.token_file).expanduser()
    if given := os.environ.get(auth.token_env):
        tokens, source = [t.strip() for t in given.split(",") if t.strip()], auth.token_env
    else:
        if not path.is_file() and create:
            _write_secret(path, secrets.token_urlsafe(32))
        if not path.is_file():
            raise ConfigError(
                f"auth: no token: set {auth.token_env}, write one to {path}, or set auth.enabled=false"
            )
        tokens, source = path.read_text(encoding="utf-8").split(), str(path)
    if not tokens or min(map(len, tokens)) < MIN_LENGTH:
        raise ConfigError(
            f"auth: {source} must hold tokens of at least {MIN_LENGTH} characters: "
            "generate one with python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return tokens


def digest(token: str) -> str:
    """Hex SHA-256; the tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def matching(token: str, digests: Iterable[str]) -> str | None:
    """The digest that `token` has, if it is one of `digests`; takes the same time either way."""
    given = digest(token)
    found = [known for known in digests if hmac.compare_digest(known, given)]
    return found[0] if found else None


def _write_secret(path: Path, token: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(token + "\n")
