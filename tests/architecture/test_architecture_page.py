"""docs/ARCHITECTURE.md names the folders, deadlines and classes that exist, and all folders and deadlines that do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from medray.config.cluster import DeadlineConfig

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
TEXT = PAGE.read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text under a heading of the page."""
    return TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]


def first_cells(heading: str) -> list[str]:
    """First column of the table under a heading, without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]]


def test_every_folder_is_listed_once_and_exists() -> None:
    listed = [cell.strip("`") for cell in first_cells("What is in each folder?")]
    packages = {str(f.parent.relative_to(ROOT)) for f in (ROOT / "medray").rglob("__init__.py")}
    assert sorted(listed) == sorted(packages - {"medray"})


def test_every_deadline_is_in_the_table_of_waits() -> None:
    named = set(re.findall(r"`deadlines\.(\w+)`", TEXT))
    assert named == set(DeadlineConfig.model_fields)


def defined(path: Path) -> set[str]:
    """Names that a module defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
    return names


@pytest.mark.parametrize("place", re.findall(r"`(medray/[\w/]+\.py: \w+)`", TEXT))
def test_the_glossary_points_at_code(place: str) -> None:
    file, name = place.split(": ")
    assert name in defined(ROOT / file), f"{PAGE.name}: {file} defines no {name}"


def test_a_word_has_one_meaning() -> None:
    words = first_cells("What does each word mean?")
    assert len(words) > 30
    assert len(set(words)) == len(words)
