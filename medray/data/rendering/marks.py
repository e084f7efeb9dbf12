"""Which message wrote which part of a rendered chat.

A template is compiled a second time with marks in its loops: each round of a loop writes the number of the
message it is at, which is known by identity, into the output. The contents of the messages stay untouched,
so the template decides as it always does, and the text without the marks must equal the plain rendering.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes

_OPEN, _CLOSE, _AT = "_medray_open", "_medray_close", "_medray_at"


class MessageSpan(NamedTuple):
    """A stretch of text written by one message; `message` is -1 for what lies outside all of them."""

    message: int
    start: int
    end: int


def render_marked(
    source: str, variables: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], known: str
) -> tuple[str, list[MessageSpan]]:
    """The rendering of `source` with `variables` and `messages`, and whose each part of it is.

    Args:
        known: a text with all characters that the rendering may hold, such as the plain rendering.

    Returns:
        The text, which differs from the plain rendering where the marks changed what the template writes; adjacent
        runs that cover it.

    Raises:
        jinja2.TemplateError: as the plain rendering would.
    """
    nonce = _nonce(known)
    numbers = {id(message): i for i, message in enumerate(messages)}

    def at(value: Any, *enclosing: Any) -> str:
        number = numbers.get(id(value))
        within = any(id(item) in numbers for item in enclosing)
        return "" if number is None or within else f"{nonce}{number};"

    marks = {_OPEN: lambda: f"{nonce}<", _CLOSE: lambda: f"{nonce}>", _AT: at}
    marked = _compile_marked(source).render(messages=messages, **variables, **marks)
    return _read(marked, nonce)


def variables_of(source: str) -> frozenset[str]:
    """Names that the template takes from outside."""
    from jinja2 import meta

    return frozenset(meta.find_undeclared_variables(_environment().parse(source)))


def _nonce(plain: str) -> str:
    """A string that `plain` does not hold. Its first character occurs once, so no two of them overlap."""
    length = 0
    while (nonce := f"\ufdd0{'m' * length}\ufdd1") in plain:
        length += 1
    return nonce


def _read(marked: str, nonce: str) -> tuple[str, list[MessageSpan]]:
    pieces = re.split(f"{re.escape(nonce)}(<|>|[0-9]+;)", marked)
    stack = [-1]
    runs: list[MessageSpan] = []
    text: list[str] = []
    cursor = 0
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            if piece:
                owner = next((n for n in reversed(stack) if n >= 0), -1)
                _append(runs, MessageSpan(owner, cursor, cursor + len(piece)))
                cursor += len(piece)
                text.append(piece)
        elif piece == "<":
            stack.append(-1)
        elif piece == ">":
            stack.pop()
        else:
            stack[-1] = int(piece[:-1])
    return "".join(text), runs


def _append(runs: list[MessageSpan], run: MessageSpan) -> None:
    if runs and runs[-1].message == run.message:
        runs[-1] = MessageSpan(run.message, runs[-1].start, run.end)
    else:
        runs.append(run)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """The environment in which transformers renders chat templates."""
    from transformers.utils import chat_template_utils

    return chat_template_utils._compile_jinja_template("").environment


@lru_cache(maxsize=64)
def _compile_marked(source: str) -> jinja2.Template:
    environment = _environment()
    tree = environment.parse(source)
    _mark(tree, ())
    tree.set_environment(environment)
    return environment.template_class.from_code(
        environment, environment.compile(tree), environment.make_globals(None)
    )


def _mark(node: nodes.Node, loops: tuple[str, ...]) -> None:
    """Write marks around every loop below `node`, at the start of its body, and after assignments in it.

    The last are for loops over indices that fetch their message by `set`; within a loop over messages such an
    assignment only looks at another one. `loops` are the names of the items of the loops around `node`.
    """
    if isinstance(node, nodes.For) and isinstance(node.target, nodes.Name):
        loops = (*loops, node.target.name)
    for name in node.fields:
        value = getattr(node, name, None)
        if isinstance(value, nodes.Node):
            _mark(value, loops)
        elif isinstance(value, list):
            setattr(node, name, [new for item in value for new in _marked(item, loops)])
    if isinstance(node, nodes.For) and isinstance(node.target, nodes.Name):
        node.body.insert(0, _write(_AT, node.lineno, node.target.name))


def _marked(item: Any, loops: tuple[str, ...]) -> list[Any]:
    if not isinstance(item, nodes.Node):
        return [item]
    _mark(item, loops)
    if isinstance(item, nodes.For):
        return [_write(_OPEN, item.lineno), item, _write(_CLOSE, item.lineno)]
    if loops and isinstance(item, nodes.Assign) and isinstance(item.target, nodes.Name):
        enclosing = [name for name in loops if name != item.target.name]
        return [item, _write(_AT, item.lineno, item.target.name, *enclosing)]
    return [item]


def _write(function: str, line: int, *names: str) -> nodes.Output:
    arguments = [nodes.Name(name, "load", lineno=line) for name in names]
    called = nodes.Name(function, "load", lineno=line)
    return nodes.Output([nodes.Call(called, arguments, [], None, None, lineno=line)], lineno=line)
