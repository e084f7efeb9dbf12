"""The `medray` command, run as a user runs it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import medray

ROOT = Path(__file__).parents[1]
EXAMPLE = "jobs/configs/grpo_smollm2_cpu.yaml"
HEAVY = ("torch", "ray", "vllm", "transformers")


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medray.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **options)


def test_help_lists_the_commands_within_a_second_of_cpu():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = run("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert result.returncode == 0
    for command in ("fetch-model", "check-config", "data", "version"):
        assert command in result.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_help_loads_nothing_heavy():
    code = f"""
import sys
sys.argv = ["medray", "--help"]
from medray.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)

    assert result.stderr.strip() == "[]"


def test_the_installed_script_is_the_same_command():
    result = subprocess.run(
        [Path(sys.executable).parent / "medray", "version"], capture_output=True, text=True
    )

    assert result.stdout.splitlines()[0] == f"medray {medray.__version__}"
    assert any(line.startswith("ray 2.") for line in result.stdout.splitlines())


def test_check_config_prints_the_resolved_configuration():
    result = run("check-config", "grpo", EXAMPLE, "optim.lr=2e-5", "num_steps=3")

    assert result.returncode == 0
    resolved = json.loads(result.stdout)
    assert resolved["optim"]["lr"] == 2e-5
    assert resolved["num_steps"] == 3
    assert resolved["rollout"]["engine"]["prefix_caching"] is True


def test_check_config_prints_a_schema_with_the_docs_of_the_keys():
    result = run("check-config", "grpo", "--schema")

    schema = json.loads(result.stdout)
    assert schema["properties"]["num_steps"]["minimum"] == 1
    assert "Rollout batches" in schema["properties"]["num_steps"]["description"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["check-config", "grpo", EXAMPLE, "optim.lrr=1"], "did you mean optim.lr?"),
        (["check-config", "grpo", "absent.yaml"], "config file absent.yaml does not exist"),
        (
            ["check-config", "gpro", EXAMPLE],
            "unknown job 'gpro': use one of pt, sft, rm, prm, dpo, orpo, kto, prepare, grpo, ppo",
        ),
        (["check-config", "grpo"], "pass a YAML file"),
        (["fetch-model", "smolm2-135m"], "did you mean smollm2-135m?"),
        (["fetch-model"], "pass a model name: smollm2-135m"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, expected):
    result = run(*arguments)

    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert expected in result.stderr


def test_two_mistakes_are_two_lines():
    result = run("check-config", "grpo", EXAMPLE, "optim.lrr=1", "num_steps=0")

    assert [line[:7] for line in result.stderr.splitlines()] == ["error: ", "error: "]


def test_a_folder_that_cannot_be_written_is_one_line():
    result = run("fetch-model", "smollm2-135m", "--root", "/proc/models")

    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 1
    assert "/proc/models" in result.stderr


def test_the_catalogue_is_listed_with_its_licences():
    result = run("fetch-model", "--list")

    assert result.stdout.startswith("smollm2-135m")
    assert "Apache-2.0" in result.stdout
