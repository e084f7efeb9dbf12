"""Text that cannot be written: lone surrogates, which JSON's escapes can say and UTF-8 cannot."""

from __future__ import annotations

from typing import Any


def is_writable(text: str) -> bool:
    """False for a text with a lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def unwritable_place(value: Any) -> str | None:
    """Where in JSON values the first lone surrogate is, as in `messages.0.content`; None where there is none."""
    rest: list[tuple[str, Any]] = [("", value)]
    while rest:
        path, at = rest.pop()
        if isinstance(at, str) and not is_writable(at):
            return path or "the text"
        if isinstance(at, dict):
            if not all(is_writable(key) for key in at if isinstance(key, str)):
                return f"a key of {path or 'the row'}"
            rest += reversed([(f"{path}.{k}" if path else str(k), v) for k, v in at.items()])
        elif isinstance(at, list | tuple):
            rest += reversed([(f"{path}.{i}" if path else str(i), v) for i, v in enumerate(at)])
    return None


def writable(value: Any) -> Any:
    """JSON values with U+FFFD in place of each lone surrogate."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {writable(k): writable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [writable(v) for v in value]
    return value
