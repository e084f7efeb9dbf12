"""Documents, comments of YAML files, messages and docstrings name keys, commands, make targets and files that exist."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import ROOT
from tests.support.mentions import (
    code_in,
    wrong_commands,
    wrong_keys,
    wrong_links,
    wrong_paths,
    wrong_targets,
    wrong_yaml,
)

DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
FOLDERS_OF_YAML = ("jobs/configs", "serve_configs", "deploy", ".")
YAMLS = sorted(p for folder in FOLDERS_OF_YAML for p in (ROOT / folder).glob("*.y*ml"))
SOURCES = sorted(
    p for f in ("medray", "jobs", "scripts", "benchmarks") for p in (ROOT / f).rglob("*.py")
)
NOT_OF_MEDRAY = {
    "SERVING.md": {"dermatology="},  # the name of an adapter
    "EXTENDING.md": {"algorithm.steepness"},  # a key that the page's own algorithm adds
}
HISTORIC = {"medray/config/renamed.py"}
"""Files that list the keys of earlier versions."""


def wrong_in_document(text: str, folder: str = "docs") -> set[str]:
    """What a Markdown document names and is not there."""
    found = {*wrong_paths(text), *wrong_links(text, folder), *wrong_yaml(text)}
    for code in code_in(text):
        is_machine = "--machine" in code  # memory=64,gpu=80 are not settings
        found |= {*wrong_keys(code, assigned=not is_machine), *wrong_commands(code)}
        found |= set(wrong_targets(code))
    return found


def wrong_in_comments(text: str) -> set[str]:
    """The same of the comments of a YAML file."""
    said = "\n".join(line.partition("#")[2] for line in text.splitlines())
    return {*wrong_keys(said), *wrong_commands(said), *wrong_targets(said), *wrong_paths(said)}


def wrong_in_source(source: str) -> set[str]:
    """The same of the strings, docstrings and comments of Python code; commands count in backticks and brackets."""
    found: set[str] = set()
    for text in (*strings_of(source), *comments_of(source)):
        found |= {*wrong_keys(text), *wrong_paths(text)}
        for code in re.findall(r"`([^`]+)`|\((medray (?!is )[^)]*)\)", text):
            found |= {*wrong_commands("".join(code)), *wrong_targets("".join(code))}
    return found


def strings_of(source: str) -> Iterator[str]:
    """Texts of a module, docstrings included; what an f-string fills in is a space."""
    tree = ast.parse(source)
    inside = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else "/\0" for v in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in inside:
            yield node.value if isinstance(node.value, str) else ""


def comments_of(source: str) -> Iterator[str]:
    """The comments of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    allowed = NOT_OF_MEDRAY.get(path.name, set())
    assert wrong_in_document(text, str(path.parent.relative_to(ROOT))) == allowed


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_what_the_comments_of_a_yaml_file_name_exists(path: Path) -> None:
    assert wrong_in_comments(path.read_text(encoding="utf-8")) == set()


def test_what_messages_and_docstrings_name_exists() -> None:
    wrong: dict[str, set[str]] = {}
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        found = wrong_in_source(path.read_text(encoding="utf-8"))
        if found and name not in HISTORIC:
            wrong[name] = found
    assert len(SOURCES) > 400
    assert wrong == {}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Set `workers.strategy=fsdp2`.", {"workers.strategy", "workers.strategy="}),
        ("`rollout.heat` is", {"rollout.heat"}),
        ("`strategies=zero2`", {"strategies="}),
        ("`models.0.replicas.minn`", {"models.0.replicas.minn"}),
        ("```yaml\noptim:\n  learning_rate: 1\n```\n", {"optim.learning_rate"}),
        ("```bash\nmedray plann x.yaml\n```\n", {"medray plann"}),
        ("`medray data samples x`", {"medray data samples"}),
        ("`medray plan x.yaml --machines gpu`", {"medray plan --machines"}),
        ("`make tests`", {"make tests"}),
        ("see jobs/configs/grpo_smollm3_cpu.yaml", {"jobs/configs/grpo_smollm3_cpu.yaml"}),
        ("[page](GONE.md#top)", {"GONE.md"}),
        ("`optim.lr=1e-5`, `rewards.0.options.model.path`, `models.N.name`, `data.columns.a.b`", set()),
        ("`medray data stats x --json`, `make test`, jobs/{pt,sft}.py, [page](DATA.md)", set()),
        ("`model.safetensors`, `chat.completion`, `data.jsonl`", set()),
    ],
)  # fmt: skip
def test_drift_in_a_document_is_found(text: str, wrong: set[str]) -> None:
    assert wrong_in_document(text) == wrong


def test_drift_in_code_is_found() -> None:
    source = '''
def check(n):
    """Read `medray/plan/gone.py`."""
    # as optim.rate says
    raise ValueError(f"{n}: set learner.row_token={n}, then run `medray plann`")
'''
    expected = {"medray/plan/gone.py", "optim.rate", "learner.row_token", "medray plann"}
    assert wrong_in_source(source) == expected


def test_drift_in_a_comment_of_yaml_is_found() -> None:
    assert wrong_in_comments("a: 1  # see workers.strategy\n") == {"workers.strategy"}
