"""Rules about where code lies: no crowded folders, no import cycles, one list of layers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
MAX_FILES = 16
"""Python files side by side in one package."""
ONE_KIND = {"schemas", "config", "commands", "losses", "algorithms", "rewards"}
"""Packages whose files are all of one kind, one per schema, section, command, ...: as many as there are."""


def crowded(package: Path) -> dict[str, int]:
    """Packages under `package` with more files than a reader can survey, and how many files they have."""
    counts = {
        folder: len(list(folder.glob("*.py")))
        for folder in (package, *package.rglob("*"))
        if folder.is_dir() and folder.name not in ONE_KIND
    }
    return {str(folder.relative_to(package)): n for folder, n in counts.items() if n > MAX_FILES}


def cycles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of modules that import each other, each sorted (Tarjan 1972, doi:10.1137/0201010)."""
    found: list[list[str]] = []
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in imports.get(module, ()):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1 or module in imports.get(module, ()):
                found.append(sorted(group))

    for module in imports:
        if module not in order:
            visit(module)
    return found


def layers_as_text() -> str:
    """The layers contract of pyproject.toml on one line, as CONTRIBUTING.md shows it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in contracts["contracts"] if c["id"] == "layers")
    return " > ".join(re.sub(r"[()]", "", layer).replace(" : ", ", ") for layer in layers)


def test_no_package_is_crowded() -> None:
    assert not crowded(ROOT / "medray")


def test_a_crowded_package_is_found(tmp_path: Path) -> None:
    for folder, num_files in (("a", 16), ("b", 17), ("a/schemas", 40)):
        (tmp_path / folder).mkdir()
        for i in range(num_files):
            (tmp_path / folder / f"{i}.py").touch()
    assert crowded(tmp_path) == {"b": 17}


def test_no_modules_import_each_other() -> None:
    """Imports for type checkers count: a reader follows them, too."""
    graph = grimp.build_graph("medray", cache_dir=None)
    imports = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    assert len(imports) > 400
    assert cycles(imports) == []


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, []),
        ({"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": []}, [["b", "c"]]),
        ({"a": ["a"]}, [["a"]]),
        ({"x": ["y"], "y": ["z"], "z": ["x", "p"], "p": ["q"], "q": ["p"]}, [["p", "q"], ["x", "y", "z"]]),
    ],
)  # fmt: skip
def test_cycles_are_found(imports: dict[str, list[str]], expected: list[list[str]]) -> None:
    assert cycles(imports) == expected


def test_contributing_shows_the_layers_that_are_enforced() -> None:
    text = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    assert f"`{layers_as_text()}`" in text, f"CONTRIBUTING.md needs: `{layers_as_text()}`"
