"""JSON schemas that no answer can follow, or that would take the engine's time: refused before they are compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MAX_COUNT = 100_000
"""Most characters, elements or properties that a schema may count."""
COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
VALUES = ("enum", "const", "default", "examples")
"""Keywords whose values are data, not schemas."""
INDEX = re.compile("[0-9]{1,9}")
COMBINED = ("anyOf", "oneOf", "allOf")


def fault(schema: Any) -> str | None:
    """What is wrong with a schema; None where nothing is found here."""
    for node in _nodes(schema):
        for name in COUNTS:
            count = node.get(name)
            if isinstance(count, int | float) and not 0 <= count <= MAX_COUNT:
                return f"{name} must be from 0 to {MAX_COUNT}"
        ref = node.get("$ref")
        if isinstance(ref, str):
            if not ref.startswith("#"):
                return f"$ref must point into the schema itself, as in #/$defs/name: {ref[:100]!r}"
            if _resolved(schema, ref) is None:
                return f"$ref points nowhere: {ref[:100]!r}"
    return _endless(schema)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    rest = [schema]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest += [v for k, v in node.items() if k not in VALUES]
        elif isinstance(node, list):
            rest += node


def _resolved(schema: Any, ref: str) -> Any:
    """What a pointer points to; None for nothing."""
    node = schema
    for part in ref[1:].split("/")[1:] if ref not in ("#", "#/") else ():
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and INDEX.fullmatch(key) and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node


def _endless(schema: Any) -> str | None:
    """A reference that leads back to itself with nothing of an answer in between, as in {"$ref": "#"}.

    Schemas are told apart by identity: one has as many pointers as there are ways to write them.
    """
    done: set[int] = set()
    refs = {node["$ref"] for node in _nodes(schema) if isinstance(node.get("$ref"), str)}
    for start in sorted(refs):
        path: dict[int, None] = {}  # in its order
        rest = [(start, False)]
        while rest:
            ref, leaves = rest.pop()
            if leaves:
                done.add(path.popitem()[0])
                continue
            target = _resolved(schema, ref)
            if id(target) in path:
                return f"$ref leads back to itself: {ref[:100]!r}"
            if id(target) not in done:
                path[id(target)] = None
                rest.append((ref, True))
                rest += [(each, False) for each in _led_to(target)]
    return None


def _led_to(node: Any) -> list[str]:
    """References that a schema is, or is a combination of, before it says anything itself."""
    found: list[str] = []
    rest = [node]
    while rest:
        at = rest.pop()
        if isinstance(at, dict):
            if isinstance(at.get("$ref"), str):
                found.append(at["$ref"])
            for name in COMBINED:
                if isinstance(at.get(name), list):
                    rest += at[name]
    return found
