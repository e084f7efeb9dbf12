"""A judge's text as a verdict: the JSON found in it, repaired where that is possible, and checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medray.thoughts import visible_text

V = TypeVar("V", bound=BaseModel)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)(?:```|\Z)", re.DOTALL)


class Unusable(ValueError):
    """A judge's answer is not the verdict that was asked for; the text says what is wrong with it."""


def parse_verdict(text: str, form: type[V], check: Callable[[V], None] | None = None) -> V:
    """The verdict in a judge's answer: bare JSON, fenced, after a thought, or with small damage.

    Raises:
        Unusable: there is no JSON object, it lacks a field or has one of the wrong type, or `check` refuses it.
    """
    from json_repair import repair_json

    visible = visible_text(text)
    fenced = _FENCE.findall(visible)
    bare = fenced[-1] if fenced else visible
    if "{" not in bare:
        raise Unusable("no JSON object in it")
    loaded: Any = repair_json(bare[bare.index("{") :], return_objects=True)
    if isinstance(loaded, list):  # text with braces after the object
        loaded = next((item for item in loaded if isinstance(item, dict)), None)
    try:
        verdict = form.model_validate(loaded, strict=True)
        if check is not None:
            check(verdict)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the object"
        raise Unusable(f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise Unusable(str(error)) from None
    return verdict
