"""Bodies of requests as JSON: an object that every later step can write down, send and read again."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from medray.serve.errors import ApiError
from medray.storage.unicode import is_writable

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
    rest: list[tuple[str, Any, int]] = [("", whole, 0)]
    while rest:
        path, value, depth = rest.pop()
        if isinstance(value, str):
            if not is_writable(value):
                raise _invalid(path, "holds a lone surrogate, which is not text")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise _invalid(path, "is a number out of range")
        elif isinstance(value, dict | list):
            if depth == MAX_DEPTH:
                raise _invalid(path, f"is nested more than {MAX_DEPTH} deep")
            if isinstance(value, dict) and not all(map(is_writable, value)):
                raise _invalid(path, "has a key with a lone surrogate, which is not text")
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            rest += [(f"{path}.{key}" if path else str(key), v, depth + 1) for key, v in pairs]


def _invalid(path: str, said: str) -> ApiError:
    name = path[:200] or "the body"
    return ApiError(400, f"{name} {said}", code="invalid_value", param=path[:200] or None)
