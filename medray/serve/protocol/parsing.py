"""From the bytes of a request to a body that the engine can be asked; every mistake is a 400 that names its field."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from medray.config.serve import LimitsConfig
from medray.serve.errors import ApiError
from medray.serve.protocol.bodies import MAX_PROMPTS, ChatBody, CompletionBody
from medray.serve.protocol.fields import Part
from medray.serve.protocol.responses import ResponsesBody
from medray.serve.protocol.schemas import fault

BodyT = TypeVar("BodyT", bound=Part)
GENERATING = (ChatBody, CompletionBody, ResponsesBody)
NAMED = re.compile(r"^([a-z_]+): ")
"""How a check of several fields names the one that is wrong."""


def parse(kind: type[BodyT], raw: dict[str, Any], limits: LimitsConfig) -> BodyT:
    """The body as `kind`, within the limits.

    Raises:
        ApiError: 400, naming the field.
    """
    _within(raw, limits)
    try:
        body = kind.model_validate(raw)
    except ValidationError as error:
        raise invalid(_first(error.errors(include_url=False)), raw) from None
    if isinstance(body, CompletionBody) and len(body.prompt) * body.n > MAX_PROMPTS:
        raise _refused("n", f"n times the prompts must be at most {MAX_PROMPTS}")
    for constraint in body.constraints() if isinstance(body, GENERATING) else ():
        if constraint.kind == "json" and (said := fault(constraint.value)):
            raise _refused(constraint.param, f"{constraint.param}: {said}")
        if constraint.kind == "grammar" and "::=" not in constraint.value:
            raise _refused(
                constraint.param, f"{constraint.param}: must be EBNF, as in root ::= ..."
            )
    return body


def invalid(error: ErrorDetails, raw: Any) -> ApiError:
    """What pydantic found, by the name of its field in `raw`; what the client sent is not repeated."""
    where = _path(error["loc"], raw)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return ApiError(400, f"{where}: unknown field", code="unknown_parameter", param=where)
    if not where and (named := NAMED.match(message)):
        return _refused(named[1], message)
    return _refused(where or None, f"{where}: {message}" if where else message)


def _within(raw: dict[str, Any], limits: LimitsConfig) -> None:
    bounds = {
        "n": limits.max_choices,
        "max_completion_tokens": limits.max_new_tokens,
        "max_output_tokens": limits.max_new_tokens,
        "max_tokens": limits.max_new_tokens,
        "min_tokens": limits.max_new_tokens,
    }
    for name, most in bounds.items():
        value = raw.get(name)
        if isinstance(value, int) and value > most:
            raise _refused(name, f"{name} must be at most {most}")


def _first(errors: list[ErrorDetails]) -> ErrorDetails:
    """The error that says most: of a value that may have several types, that of the type it has."""
    telling = [e for e in errors if not e["type"].endswith("_type")]
    first = errors[0]
    near = [e for e in telling if e["loc"][:1] == first["loc"][:1]]
    return near[0] if near else first


def _path(loc: tuple[int | str, ...], raw: Any) -> str:
    """The place of an error as a client would write it: pydantic's includes the names of types."""
    names: list[str] = []
    at = raw
    for i, part in enumerate(loc):
        inner = _members(at)
        if part in inner:
            at = inner[part]
        elif i < len(loc) - 1 or not isinstance(at, dict):
            continue
        names.append(str(part)[:100])
    return ".".join(names)


def _members(value: Any) -> dict[Any, Any]:
    """What is in an object or an array, by key or position."""
    if isinstance(value, dict):
        return value
    return dict(enumerate(value)) if isinstance(value, list) else {}


def _refused(param: str | None, message: str) -> ApiError:
    return ApiError(400, message, code="invalid_value", param=param)
