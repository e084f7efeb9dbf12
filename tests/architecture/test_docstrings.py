"""A docstring says more than its name does, or is left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MIN_CHARACTERS = 26
"""Shorter docstrings ("Begin.", "One line.") only repeat the name."""


def short_docstrings(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, qualified name and text of the short docstrings of public classes and functions."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[int, str, str]]:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if child.name.startswith("_") and not child.name.startswith("__"):
                continue
            text = ast.get_docstring(child)
            if text is not None and len(text) < MIN_CHARACTERS:
                yield child.lineno, prefix + child.name, text
            yield from visit(child, f"{prefix}{child.name}.")

    return visit(ast.parse(source), "")


def test_docstrings_say_something() -> None:
    short = [
        f"{path.relative_to(ROOT)}:{line} {name}: {text!r}"
        for path in sorted((ROOT / "medray").rglob("*.py"))
        for line, name, text in short_docstrings(path.read_text(encoding="utf-8"))
    ]

    assert not short


def test_a_short_docstring_is_found() -> None:
    source = '''
class Queue:
    """Calls that wait for their turn, oldest first."""

    def close(self):
        """Close it."""

    def __len__(self):
        """Its length."""

    def _drain(self):
        """Empty it."""

    def push(self, call): ...
'''

    assert [(line, name) for line, name, _ in short_docstrings(source)] == [
        (5, "Queue.close"),
        (8, "Queue.__len__"),
    ]
