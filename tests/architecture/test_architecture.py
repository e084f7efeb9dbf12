"""Rules about the code itself: import layers, sizes, light imports, and examples that load."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medray.commands.check_config import JOBS, job_schema
from medray.config.loader import load_config

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "medray").rglob("*.py"))
EXAMPLES = sorted((ROOT / "jobs" / "configs").glob("*.yaml"))
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
HEAVY = ("torch", "ray", "vllm", "transformers")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
    )


def test_imports_go_down_only():
    run = lint_imports(ROOT)

    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("medray/config/extra.py", "import medray.data", "medray.config is not allowed to import"),
        ("medray/rewards/extra.py", "import medray.engines", "is not allowed to import"),
        ("medray/types.py", "import torch", "medray.types -> torch"),
        ("medray/learners/extra.py", "import ray", "medray.learners.extra -> ray"),
        ("medray/actors/extra.py", "import vllm", "medray.actors.extra -> vllm"),
    ],
)
def test_the_contracts_catch(tmp_path, file, line, expected):
    shutil.copytree(ROOT / "medray", tmp_path / "medray")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as stream:
        stream.write(f"\n{line}\n")

    run = lint_imports(tmp_path)

    assert run.returncode == 1
    assert expected in " ".join(run.stdout.split())


def test_files_and_functions_stay_small():
    too_long = []
    for path in SOURCES:
        name, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        lengths = {
            f"{name}: {node.name}": (node.end_lineno - node.lineno + 1, MAX_FUNCTION_LINES)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        lengths[name] = (len(text.splitlines()), MAX_FILE_LINES)
        too_long += [f"{what}: {n} lines" for what, (n, limit) in lengths.items() if n > limit]
    assert len(SOURCES) > 300
    assert not too_long


@pytest.mark.parametrize(
    "module",
    [
        "medray",
        "medray.cli",
        "medray.config.grpo",
        "medray.errors",
        "medray.models.fetching.fetch",
        "medray.observability",
        "medray.rewards",
        "medray.types",
    ],
)
def test_importing_it_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)

    assert run.stdout.strip() == "[]", run.stderr


def test_an_rl_driver_starts_its_actors_before_it_loads_torch():
    """Its own imports would come before theirs, on the way to the first step."""
    code = (
        "import sys, medray.runs.launch; "
        "print([name for name in ('torch', 'transformers', 'vllm') if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)

    assert run.stdout.strip() == "[]", run.stderr


def test_there_is_an_example_for_every_job():
    assert {path.stem.split("_")[0] for path in EXAMPLES} == set(JOBS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_loads(path):
    job = path.stem.split("_")[0]

    assert isinstance(load_config(job_schema(job), path), job_schema(job))


@pytest.mark.parametrize("job", sorted(JOBS))
def test_every_job_key_is_documented(job):
    undocumented = []

    def visit(schema: dict, name: str) -> None:
        for key, value in schema.get("properties", {}).items():
            nested = "$ref" in json.dumps(value)  # a block: its own class is documented
            if "description" not in value and not nested:
                undocumented.append(f"{name}.{key}")

    schema = job_schema(job).model_json_schema()
    visit(schema, job)
    for name, definition in schema.get("$defs", {}).items():
        visit(definition, name)
    assert not undocumented
