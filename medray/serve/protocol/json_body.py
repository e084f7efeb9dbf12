"""Bodies of requests as JSON: an object that every later step can write down, send and read again."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from medray.serve.errors import ApiError
from medray.storage.unicode import is_writable

Place = tuple["Place", str | int] | None
"""Where a value is: in which place, by which key; None for the whole body. Written out only for an error."""
MAX_DEPTH = 64
"""Objects and arrays within each other; schemas of tools and answers need a dozen."""


def read_json(body: bytes, content_type: str) -> dict[str, Any]:
    """The object in `body`.

    Raises:
        ApiError: 400, where it is not JSON, not an object, nested too deep, or holds what JSON cannot carry
            on: lone surrogates, and numbers beyond double precision.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(
            400,
            "the body must be JSON: send the header Content-Type: application/json",
            code="invalid_content_type",
            param="Content-Type",
        )
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not valid JSON", code="invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    _check(value)
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _check(whole: dict[str, Any]) -> None:
    """Refuse what cannot be passed on, naming where it is."""
    rest: list[tuple[Place, dict[Any, Any] | list[Any], int]] = [(None, whole, 0)]
    while rest:
        place, holder, depth = rest.pop()
        if depth == MAX_DEPTH:
            raise _invalid(place, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(holder, dict) and not all(map(is_writable, holder)):
            raise _invalid(place, "has a key with a lone surrogate, which is not text")
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if isinstance(value, str):
                if not is_writable(value):
                    raise _invalid((place, key), "holds a lone surrogate, which is not text")
            elif isinstance(value, float):
                if not math.isfinite(value):
                    raise _invalid((place, key), "is a number out of range")
            elif isinstance(value, dict | list):
                rest.append(((place, key), value, depth + 1))


def _invalid(place: Place, said: str) -> ApiError:
    keys: list[str] = []
    while place is not None:
        place, key = place
        keys.append(str(key))
    path = ".".join(reversed(keys))[:200]
    return ApiError(400, f"{path or 'the body'} {said}", code="invalid_value", param=path or None)
